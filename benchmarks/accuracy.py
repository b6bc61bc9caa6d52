"""How right the planner is, on runs that other people measured and on our own.

    python benchmarks/accuracy.py                          # the shipped tables of measured figures
    python benchmarks/accuracy.py --split holdout --json   # families that no prior was fitted on
    python benchmarks/accuracy.py --tables DIR --table timm_train --limit 200 --seed 7
    python benchmarks/accuracy.py --write-accuracy docs/accuracy.md
    python benchmarks/accuracy.py --device cpu --profile my.json --keep runs.csv
    python benchmarks/accuracy.py --device cpu --runs runs.csv

With ``--device`` it trains here, the runs most unlike each other first, and compares the three
bases with the clock; ``--keep`` writes each visit at once and goes on where it was cut off,
``--runs`` reads what it wrote.

Prints medians, ninetieth percentiles and worst errors of time and memory, bias, the share of
measurements that the 80 % intervals cover, the verdicts on memory, and every row that could not be
asked with its reason.
"""

from __future__ import annotations

import argparse
import datetime
import json
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import tables  # noqa: E402
from benchmarks.tables import measured_runs  # noqa: E402
from benchmarks.tables.common import read_rows  # noqa: E402
from planner.cli.writing import write  # noqa: E402
from planner.report.views import accuracy as accuracy_view  # noqa: E402
from planner.validate.cases import Case, Refused, from_rows  # noqa: E402
from planner.validate.judge import Outcome, outcome  # noqa: E402
from planner.validate.validate import by_model  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
MEASURED = ROOT / "profiles" / "measured"
WORKERS = 2
BASES = ("datasheet", "calibrated", "exact")
HEAD = """# Accuracy

Written by `python benchmarks/accuracy.py --write-accuracy docs/accuracy.md`; not edited by hand.
With `--tables DIR` the whole public tables are replayed, of which
`profiles/measured/published.csv` is a selection. `planner validate published` asks the same runs
with your own corrections, `planner validate` your own runs.

"""


def main() -> int:
    args = arguments()
    if args.device:
        return local(args)
    items = list(gather(args.tables, args.table))
    cases, refused = choose(items, args.split, args.limit, args.seed)
    with tempfile.TemporaryDirectory() as folder:
        outcomes = run(cases, Path(folder), args.workers, args.sharded_as_ddp)
    comparisons = [c for o in outcomes for c in o.comparisons]
    verdicts = [o.verdict for o in outcomes if o.verdict]
    refused += [o.refused for o in outcomes if o.refused]
    asked = {
        "rows": len(items),
        "cases": len(cases),
        "description": describe(args),
        "split": args.split,
        "seed": args.seed,
        "limit": args.limit,
    }
    parts = (comparisons, verdicts, refused, asked)
    print(
        json.dumps(accuracy_view.document(*parts), indent=1)
        if args.json
        else accuracy_view.markdown(*parts)
    )
    if args.residuals:
        write(args.residuals, residuals_csv(comparisons))
    if args.write_accuracy:
        write(
            args.write_accuracy,
            HEAD + accuracy_view.markdown(*parts),
        )
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--tables",
        type=Path,
        help="a folder of public tables, read in place, instead of profiles/measured/",
    )
    parser.add_argument("--table", action="append", help="only this table; repeatable")
    parser.add_argument("--split", choices=("all", "fit", "holdout"), default="all")
    parser.add_argument(
        "--limit", type=int, help="at most this many cases of each table, drawn with --seed"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument(
        "--sharded-as-ddp",
        action="store_true",
        help="ask the time of sharded runs as data-parallel ones; their memory is left out",
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--residuals", type=Path, help="write every comparison to this CSV, for fit_uncertainty.py"
    )
    parser.add_argument(
        "--write-accuracy",
        type=Path,
        metavar="FILE",
        help="also write the report to this Markdown file",
    )
    here = parser.add_argument_group("runs on this machine")
    here.add_argument(
        "--device",
        help="train on this device (cpu, cuda, cuda:1, mps) and compare datasheet, calibrated "
        "and exact with its clock",
    )
    here.add_argument(
        "--profile",
        type=Path,
        help="the device profile of the calibrated basis, instead of the one planner calibrate "
        "wrote",
    )
    here.add_argument(
        "--seconds-per-run",
        type=float,
        default=8.0,
        help="seconds of training a run, over both visits",
    )
    here.add_argument("--only", action="append", help="only this run; repeatable")
    here.add_argument(
        "--runs", type=Path, help="measurements that --keep wrote, instead of training"
    )
    here.add_argument(
        "--keep",
        type=Path,
        metavar="CSV",
        help="write what is measured, each visit at once; what is there is not measured again",
    )
    here.add_argument("--basis", action="append", choices=BASES, help="only this basis; repeatable")
    return parser.parse_args()


def local(args: argparse.Namespace) -> int:
    """Train the local runs on ``args.device``, predict them on the three bases, and print both."""
    from benchmarks import local_report, local_runs
    from planner.errors import PlannerError

    runs = local_runs.runs_for(args.device, args.only)
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            local_runs.own_profiles(args.device, args.profile),
        ):
            doubts = _measure_and_predict(runs, args, Path(folder), local_runs)
            from planner.measure.real_run import device_name

            asked = {
                "device": args.device,
                "device_name": device_name(args.device),
                "runs": len(runs),
                "description": _how(args),
                "doubts": doubts,
            }
    except PlannerError as error:
        print(f"accuracy: {error}", file=sys.stderr)
        return error.exit_code
    print(
        json.dumps(local_report.document(runs, asked), indent=1)
        if args.json
        else local_report.markdown(runs, asked),
        end="\n" if args.json else "",
    )
    return 0 if any(run.measured is not None for run in runs) else 3


def _measure_and_predict(
    runs: list, args: argparse.Namespace, folder: Path, local_runs
) -> dict[str, list[str]]:
    """First all runs, then the predictions, then all runs again: what drifts meets them all. Where
    two visits disagree a third decides. What ``--keep`` holds is gone on from. Returns why the
    figures may not be trusted, by phase."""
    from benchmarks import local_kept

    def tell(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    bases = args.basis or BASES
    if args.runs:
        local_kept.read(args.runs.read_text(encoding="utf-8"), runs)
        return local_runs.predict(runs, args.device, folder, bases, tell)
    kept = local_kept.Kept(args.keep, args.device, datetime.date.today().isoformat())
    if args.keep and (there := local_kept.whole_bytes(args.keep)):
        local_kept.read(args.keep.read_bytes()[:there].decode("utf-8"), runs)
        # the operations of the exact basis are timed on the device, the others cost nothing
        local_kept.read_predictions(kept.predictions, runs, ("exact",))
        tell(f"{sum(len(run.visits) for run in runs)} visits are there: {args.keep}")
    seconds, doubts = args.seconds_per_run / 2, dict[str, list[str]]()
    with local_runs.watched(args.device, "training, first visits", doubts):
        local_runs.visit(runs, args.device, folder, seconds, tell, kept=kept, visits=1)
    with local_runs.watched(args.device, "timing operations", doubts):
        doubts |= local_runs.predict(runs, args.device, folder, bases, tell, kept=kept)
    with local_runs.watched(args.device, "training, second visits", doubts):
        local_runs.visit(runs, args.device, folder, seconds, tell, kept=kept, visits=2)
        scattered = [run for run in runs if run.scattered]
        local_runs.visit(scattered, args.device, folder, seconds, tell, kept=kept, visits=3)
    return doubts


def _how(args: argparse.Namespace) -> str:
    return (
        f"measured before ({args.runs.name})"
        if args.runs
        else f"{args.seconds_per_run:g} s each in two visits"
    )


def describe(args: argparse.Namespace) -> str:
    source = (
        str(args.tables)
        if args.tables and args.tables.is_relative_to(Path.cwd())
        else "public tables"
        if args.tables
        else "profiles/measured"
    )
    limit = f", at most {args.limit} a table, seed {args.seed}" if args.limit else ""
    return f"{source}, split {args.split}{limit}"


def gather(folder: Path | None, only: Sequence[str] | None) -> Iterator[Case | Refused]:
    """The cases of the shipped tables, or of the public ones in ``folder``."""
    if folder is None:
        yield from shipped(MEASURED, only)
        return
    known = tables.present(folder)
    for table in only or known:
        if table not in known:
            raise SystemExit(f"no table {table!r} in {folder}; there are: {', '.join(known)}")
        yield from tables.load(table, folder)


def shipped(folder: Path, only: Sequence[str] | None) -> Iterator[Case | Refused]:
    """``published.csv`` and every file of measured runs in the folder."""
    for path in sorted(folder.rglob("*.csv")):
        rows = read_rows(path)
        columns = list(rows[0]) if rows else []
        found = (
            from_rows(rows)
            if path.name == "published.csv"
            else measured_runs.cases(rows, path.name)
            if measured_runs.is_measured_runs(columns)
            else ()
        )
        yield from (item for item in found if not only or item.table in only or path.stem in only)


def choose(
    items: Sequence[Case | Refused], split: str, limit: int | None, seed: int
) -> tuple[list[Case], list[Refused]]:
    """The cases of a split, at most ``limit`` of each table: the same ones for the same seed,
    whatever the other tables hold."""
    refused = [i for i in items if isinstance(i, Refused)]
    cases = [i for i in items if isinstance(i, Case) and split in ("all", i.split)]
    if limit is None:
        return cases, refused
    chosen = []
    for table in sorted({c.table for c in cases}):
        own = sorted((c for c in cases if c.table == table), key=lambda c: c.id)
        chosen += own if len(own) <= limit else random.Random(f"{seed}:{table}").sample(own, limit)
    return chosen, refused


def run(
    cases: Sequence[Case], folder: Path, workers: int, sharded_as_ddp: bool = False
) -> list[Outcome]:
    """Every case's outcome. One model's cases go to one worker together, so that its trace is made
    once."""
    return by_model(
        cases, partial(ask_batch, folder=folder, sharded_as_ddp=sharded_as_ddp), workers
    )


def ask_batch(batch: Sequence[Case], folder: Path, sharded_as_ddp: bool) -> list[Outcome]:
    return [outcome(case, folder, sharded_as_ddp=sharded_as_ddp) for case in batch]


def residuals_csv(comparisons) -> str:
    columns = (
        "case_id",
        "table",
        "quantity",
        "basis",
        "strategy",
        "gpu",
        "family",
        "modality",
        "split",
        "measured",
        "p10",
        "p50",
        "p90",
    )
    return (
        "\n".join(
            [
                ",".join(columns),
                *(",".join(str(getattr(c, name)) for name in columns) for c in comparisons),
            ]
        )
        + "\n"
    )


if __name__ == "__main__":
    sys.exit(main())
