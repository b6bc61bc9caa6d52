"""``planner correct``."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import click

from planner.cli.switches import remark
from planner.errors import QuestionError

FILE = click.Path(path_type=Path)
#: What corrections are learnt for, where the device allows: each basis errs in its own way.
BASES = ("datasheet", "calibrated")
NOT_CALIBRATED = "Run planner calibrate on such a device"


@click.command("correct")
@click.argument("tables", nargs=-1, metavar="[TABLE.csv]...")
@click.option(
    "--ledger",
    type=FILE,
    metavar="FILE",
    help="Another ledger than yours; with tables, this one too.",
)
@click.option(
    "--basis",
    "bases",
    multiple=True,
    metavar="datasheet|calibrated|exact",
    help="Which estimates to correct; repeatable. [default: datasheet and calibrated]",
)
@click.option("--gpu", metavar="TEXT", help="Learn from devices whose name contains this.")
@click.option(
    "--since",
    metavar="DATE",
    help="Learn from the ledger's runs from this date or moment on (UTC).",
)
@click.option(
    "--keep/--no-keep", default=True, help="Put them in force, or only show them. [default: keep]"
)
@click.option("--show", is_flag=True, help="Show those in force and learn nothing.")
@click.option("--remove", is_flag=True, help="Forget those in force.")
def command(
    tables: tuple[str, ...],
    ledger: Path | None,
    bases: tuple[str, ...],
    gpu: str | None,
    since: str | None,
    keep: bool,
    show: bool,
    remove: bool,
    as_json: bool,
) -> None:
    """Learn from measured runs how far estimates are off on your devices.

    From then on estimates for these devices are moved by as much, and their intervals are as wide
    as the runs say, wherever that makes models better that are left out of what is learnt; an
    answer shows each figure before and after. Few runs move little: models count, not runs. The
    corrections are a file of yours (--show names it), which --remove deletes.
    """
    if (show or remove) and (tables or ledger or bases or gpu or since or show and remove):
        raise QuestionError(
            "--show and --remove learn nothing", where="planner correct", mend="Give them alone"
        )
    if remove:
        return _removed(as_json)
    if show:
        return _shown(as_json)
    if wrong := sorted(set(bases) - {*BASES, "exact"}):
        raise QuestionError(
            f"unknown basis {wrong[0]!r}",
            where="--basis",
            mend="Use datasheet, calibrated or exact",
        )
    from planner.cli.commands.validate import gather, validated
    from planner.uncertainty import corrections
    from planner.validate import correct, residuals

    items, _, problems = gather(tables, ledger, since, gpu)
    found = validated(items, [], bases or BASES, 1)
    # the calibrated basis was only tried: a device without it has nothing to answer for
    if not bases:
        found = replace(
            found, refused=tuple(r for r in found.refused if not r.reason.endswith(NOT_CALIBRATED))
        )
    learnt = correct.learn(residuals.residuals(found.plain))
    if not learnt:
        raise QuestionError(
            "no run can be compared with an estimate, so there is nothing to learn",
            where="planner correct",
            mend="planner validate says why",
        )
    if keep:
        corrections.keep(
            learnt,
            (residuals.run_name(c.table, c.case_id) for c in found.plain if residuals.teaches(c)),
        )
    _show(learnt, found, problems.lines, keep, as_json)


def _removed(as_json: bool) -> None:
    from planner.uncertainty.corrections import corrections_file, forget

    done = forget()
    click.echo(
        f'{{"removed": {str(done).lower()}}}'
        if as_json
        else f"Removed {corrections_file()}"
        if done
        else "No correction is in force."
    )


def _shown(as_json: bool) -> None:
    from planner.report.formats import terminal
    from planner.report.views import correction as correction_view
    from planner.uncertainty.corrections import corrections_file, known_corrections

    known = known_corrections()
    if as_json:
        from planner.cli.writing import as_json as to_json

        click.echo(to_json(correction_view.document(known, str(corrections_file()))))
    elif not known:
        click.echo(
            "No correction is in force: planner correct learns them from your measured runs."
        )
    else:
        terminal.show_sections(correction_view.sections(known), sys.stdout)
        remark(f"\nFrom {corrections_file()}; planner correct --remove forgets them.")


def _show(learnt: list, found, problems: list[str], kept: bool, as_json: bool) -> None:
    from planner.report.formats import terminal
    from planner.report.views import correction as correction_view
    from planner.uncertainty.corrections import corrections_file

    if as_json:
        from planner.cli.writing import as_json as to_json

        click.echo(
            to_json(
                correction_view.document(learnt, str(corrections_file()) if kept else None, found)
            )
        )
        return
    terminal.show_sections(correction_view.sections(learnt, found, problems), sys.stdout)
    remark(
        f"\n{_in_force(learnt)}, kept in {corrections_file()}; "
        "planner correct --remove forgets them."
        if kept
        else "\nNothing was kept: --no-keep."
    )


def _in_force(learnt: list) -> str:
    count = sum(one.in_force for one in learnt)
    return f"{count} of {len(learnt)} in force now" if count else "None is in force"
