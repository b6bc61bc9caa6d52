"""Published training bills beside ours: GPU hours of whole runs, error per row, and which rows
cannot be answered.

    python benchmarks/published_bills.py [--only ID ...] [--again]
    python benchmarks/published_bills.py --write docs/published_bills.md

Ours is the planner's whole run with the layout that the authors published. The rows are
``profiles/measured/published_totals.csv``; nothing is fitted to them. Answers are kept in the
planner's cache folder for one state of its code and tables; ``--again`` asks anew.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.bills.asking import Answered, answer  # noqa: E402
from benchmarks.bills.bill import Bill, bills  # noqa: E402
from benchmarks.bills.document import document  # noqa: E402
from benchmarks.bills.misses import MISSES  # noqa: E402
from benchmarks.whole.answers import Answers, isolated, state_of_planner  # noqa: E402
from planner import estimate  # noqa: E402
from planner.cli.writing import write  # noqa: E402
from planner.errors import PlannerError  # noqa: E402
from planner.trace.source import cache_folder  # noqa: E402


def collect(
    wanted: Sequence[Bill], answers: Answers
) -> tuple[list[Answered], list[tuple[Bill, str]]]:
    """(those that were answered, those that were not and why), each in the order of the rows."""
    answered: list[Answered] = []
    refused: list[tuple[Bill, str]] = []
    for bill in wanted:
        if bill.refused:
            refused.append((bill, bill.refused))
            continue
        try:
            answered.append(answer(bill, answers))
            print(f"{bill.id} {answered[-1].error:+.0%}", file=sys.stderr, flush=True)
        except PlannerError as error:
            refused.append((bill, f"the planner refuses: {error}"))
    return answered, refused


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", help="ids of rows")
    parser.add_argument("--again", action="store_true", help="forget the answers that are kept")
    parser.add_argument(
        "--write", type=Path, help="write the Markdown there instead of printing it"
    )
    options = parser.parse_args(arguments)
    isolated()
    store = cache_folder() / "published_bills" / "answers.json"
    if options.again:
        store.unlink(missing_ok=True)
    answers = Answers(estimate, store, state_of_planner())
    wanted = [bill for bill in bills() if not options.only or bill.id in options.only]
    text = document(*collect(wanted, answers), "" if options.only else MISSES)
    if options.write:
        write(options.write, text)
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
