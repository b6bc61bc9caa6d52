"""The judge of whole runs: hours, dollars and memory that people report, beside the planner's.

    python benchmarks/whole_runs.py                        # the curated reports, trust H and M
    python benchmarks/whole_runs.py --tables DIR           # every report of the raw tables
    python benchmarks/whole_runs.py --write docs/whole_runs.md
    python benchmarks/whole_runs.py --tables DIR --curate  # write the curated reports again
    python benchmarks/whole_runs.py --only ID ... --again
    python benchmarks/whole_runs.py --figures docs/whole_runs_baseline.csv   # keep every figure
    python benchmarks/whole_runs.py --before docs/whole_runs_baseline.csv    # totals beside them
    python benchmarks/whole_runs.py --accuracy profiles/accuracy/whole_runs.csv   # what ships

Answers are kept in the planner's cache folder for one state of its code and tables, so that a run
that was cut off goes on where it was; ``--again`` asks anew.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.whole import answers as asking_them  # noqa: E402
from benchmarks.whole.asking import question  # noqa: E402
from benchmarks.whole.document import document  # noqa: E402
from benchmarks.whole.figures import figures, read_figures, to_csv  # noqa: E402
from benchmarks.whole.outcome import Outcome  # noqa: E402
from benchmarks.whole.report import COLUMNS, Report, read, shipped  # noqa: E402
from benchmarks.whole.shipped import to_csv as to_shipped  # noqa: E402
from planner.cli.writing import write  # noqa: E402
from planner.errors import PlannerError  # noqa: E402
from planner.today import system_date  # noqa: E402

CURATED = ROOT / "profiles" / "measured" / "whole_runs" / "runs.csv"
CURATED_HEAD = (
    "# Whole runs as people report them, each with its source; the words are the reports' own, "
    "blank where one says nothing. hours: wall-clock, over all gpus; usd and usd_per_gpu_hour in "
    "US dollars; peak_gib: GiB a device. trust H: logged with its settings, M: stated with them.\n"
)


def judge(reports: Sequence[Report], answers: asking_them.Answers) -> list[Outcome]:
    """An outcome a report, in their order."""
    rows = [(report, question(report)) for report in reports]
    found = asking_them.all_answers(rows, answers, _tell)
    return [Outcome(*row, answer) for row, answer in zip(rows, found, strict=True)]


def curated(reports: Sequence[Report]) -> str:
    """The trusted reports as a table of ``profiles/measured``."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(dict(report.cells) for report in reports if report.trusted)
    return CURATED_HEAD + out.getvalue()


def main(arguments: list[str] | None = None) -> int:
    options = _arguments(arguments)
    try:
        reports = read(options.tables) if options.tables else shipped()
        if options.curate:
            write(CURATED, curated(reports))
            return 0
        text = _document(reports, options)
        if options.write:
            write(options.write, text)
        else:
            print(text)
    except PlannerError as error:
        print(f"whole_runs: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _document(reports: Sequence[Report], options: argparse.Namespace) -> str:
    from planner import estimate

    asking_them.isolated()
    store = options.answers or asking_them.default_store()
    if options.again:
        store.unlink(missing_ok=True)
    answers = asking_them.Answers(estimate, store, asking_them.state_of_planner())
    chosen = [r for r in reports if not options.only or r.id in options.only]
    outcomes = judge(chosen, answers)
    if options.figures:
        write(options.figures, to_csv(figures(outcomes)))
    if options.accuracy:
        write(options.accuracy, to_shipped(outcomes, system_date()))
    before = read_figures(options.before) if options.before else None
    compared = sum(outcome.hours is not None for outcome in outcomes)
    source = "the raw tables" if options.tables else "profiles/measured/whole_runs"
    described = f"{len(outcomes)} of {source}, {compared} asked and compared"
    return document(outcomes, described, before)


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", type=Path, metavar="DIR", help="the folder of raw tables")
    parser.add_argument("--curate", action="store_true", help="write the curated reports and end")
    parser.add_argument("--only", nargs="+", metavar="ID", help="ids of reports")
    parser.add_argument("--again", action="store_true", help="forget the answers that are kept")
    parser.add_argument("--answers", type=Path, metavar="FILE", help="where answers are kept")
    parser.add_argument("--figures", type=Path, metavar="CSV", help="write every figure there too")
    parser.add_argument("--accuracy", type=Path, metavar="CSV", help="write the table that ships")
    parser.add_argument("--before", type=Path, metavar="CSV", help="figures of an earlier planner")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the document there")
    parsed = parser.parse_args(arguments)
    if parsed.curate and not parsed.tables:
        parser.error("--curate needs --tables")
    return parsed


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
