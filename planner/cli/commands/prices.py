"""``planner prices``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from planner.cli.switches import with_switches, working


@click.group("prices", invoke_without_command=True)
@click.option("--gpu", metavar="NAME", help="Only this GPU.")
@click.option("--provider", metavar="NAME", help="Only this provider.")
@click.option("--region", metavar="NAME", help="Only this region.")
@click.option(
    "--spot/--on-demand",
    "spot",
    default=None,
    help="Only spot prices, or only prices on demand; both when left out.",
)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Also what is not offered: superseded, undated, expired, and why.",
)
@click.pass_context
def command(
    context: click.Context,
    gpu: str | None,
    provider: str | None,
    region: str | None,
    spot: bool | None,
    everything: bool,
    as_json: bool,
) -> None:
    """What providers ask for a GPU-hour, how old each price is, and where sources disagree.

    \b
    planner prices --gpu h100-sxm
    planner prices refresh
    planner prices import contracts.csv
    """
    if context.invoked_subcommand:
        return
    from planner.report.views import prices as prices_view

    found = prices_view.listed(
        gpu=gpu, provider=provider, region=region, spot=spot, everything=everything
    )
    if as_json:
        from planner.cli.writing import as_json as to_json

        click.echo(to_json(found))
    else:
        _show(found)


def _show(found: dict) -> None:
    from planner.report.formats import terminal
    from planner.report.views import prices as prices_view

    if not found["prices"]:
        click.echo(
            "No price is known under these terms. planner prices --all shows what is not "
            "offered, and why."
        )
        return
    terminal.show_table(
        "USD per GPU-hour, list prices without storage, egress and tax",
        prices_view.price_table(found),
        sys.stdout,
        whole=(0, 1, 4, 5),
        drop=("Date", "GPUs", "Notes", "Instance"),
    )
    if found["disagreements"]:
        terminal.show_table(
            "Where sources disagree", prices_view.disagreement_table(found), sys.stdout
        )


@command.command("refresh")
@click.option(
    "--region",
    "regions",
    multiple=True,
    metavar="NAME",
    help="Keep this region's prices too; else each instance's cheapest. Repeatable.",
)
def refresh(regions: tuple[str, ...], as_json: bool) -> None:
    """Fetch today's prices through gpuhunt into your own folder; the shipped tables stay."""
    from planner.cli import writing
    from planner.cost.prices import contracts
    from planner.cost.prices import refresh as price_refresh

    with working("fetching prices"):
        rows, unknown = price_refresh.fetch(_gpu_key, regions=regions)
        written = contracts.keep(rows)
    place = written[0].parent if written else contracts.user_folder()
    writing.done(
        as_json,
        f"{len(rows)} prices of {len(written)} providers written to {place}",
        wrote=[str(path) for path in written],
        prices=len(rows),
        left_out=list(unknown),
    )
    if unknown and not as_json:
        click.echo(f"Left out, since their device cannot be told: {', '.join(unknown)}", err=True)


@command.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def import_(file: Path, as_json: bool) -> None:
    """Read your contract prices from a CSV.

    Columns: provider, gpu, and usd_per_gpu_hour or usd_per_instance_hour with gpu_count; optional
    region, instance_type, spot (yes or no), commitment (such as 1y), valid_from, valid_until
    (dates) and currency.
    """
    from planner.cli import writing
    from planner.cost.prices import contracts

    rows = contracts.read_contracts(file, _gpu_key)
    written = [str(path) for path in contracts.keep(rows)]
    line = f"{len(rows)} prices kept in {', '.join(written)}"
    writing.done(as_json, line, wrote=written, prices=len(rows))


def _gpu_key(name: str) -> str:
    """The key of a device by any name that means one."""
    from planner.devices.lookup import resolve_device
    from planner.errors import QuestionError

    found = resolve_device(name)
    if found.assumption:
        raise QuestionError(
            f"{name!r} may be several GPUs",
            mend=f"Write {found.spec.key}, or another key of planner gpus",
        )
    return found.spec.key


for _command in command.commands.values():  # those that stand above
    with_switches(_command)
