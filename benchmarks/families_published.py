"""Published step times and peak memory of the newer families of models, beside the planner's.

    python benchmarks/families_published.py
    python benchmarks/families_published.py --only detection open_clip
    python benchmarks/families_published.py --write docs/families_published.md

The rows are ``profiles/measured/families.csv``. Each is asked as it stands, on the device's
datasheet: nothing is fitted to them, no profile and no correction enters. A sharded run is asked as
plain data parallelism and only its time is compared. Rows that the planner refuses stand in the
document with its own words.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.families.judged import (  # noqa: E402
    Judged,
    cases,
    from_plain,
    judge,
    to_plain,
)
from benchmarks.families.published_document import document, line  # noqa: E402
from benchmarks.isolated import each  # noqa: E402
from benchmarks.kept import Kept  # noqa: E402
from planner.cli.writing import write  # noqa: E402

LIMIT = 300.0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", metavar="WORD", help="of an id or a task")
    parser.add_argument(
        "--answers", type=Path, metavar="FILE", help="keep answers, go on with them"
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the document there")
    options = parser.parse_args()
    words = options.only
    rows = [c for c in cases() if not words or any(w in f"{c.id} {c.task}" for w in words)]
    kept = Kept(options.answers)
    for case, found, failure in each(judge, [c for c in rows if c.id not in kept], LIMIT):
        item = Judged(case, (), failure) if failure is not None else found
        kept.put(case.id, to_plain(item))
        print(line(item), file=sys.stderr, flush=True)
    text = document([from_plain(case, kept[case.id]) for case in rows], len(cases()))
    if options.write:
        write(options.write, text)
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
