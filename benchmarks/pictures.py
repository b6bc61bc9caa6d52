"""Makes the pictures of README.md and docs/ anew.

    python benchmarks/pictures.py                       # all of them, into docs/pictures
    python benchmarks/pictures.py whole_runs.svg ...    # these
    python benchmarks/pictures.py --list
    python benchmarks/pictures.py --into DIR

A picture is an entry of ``PICTURES`` in a file of ``benchmarks/pictured/``.
"""

from __future__ import annotations

import argparse
import sys
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.pictured import Picture  # noqa: E402
from planner.errors import PlannerError, UnknownNameError  # noqa: E402
from planner.registry import declared  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"


def pictures() -> dict[str, Picture]:
    """file → picture. Raises RuntimeError where two claim one file."""
    found: list[Picture] = [*chain(*declared("benchmarks.pictured", "PICTURES"))]
    by_file = {picture.file: picture for picture in found}
    if len(by_file) < len(found):
        raise RuntimeError("two pictures claim one file")
    return by_file


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", metavar="FILE", help="by default all")
    parser.add_argument("--into", type=Path, default=PICTURES, metavar="DIR")
    parser.add_argument("--list", action="store_true", help="name them and end")
    options = parser.parse_args(arguments)
    known = pictures()
    try:
        for name in options.files or known:
            if name not in known:
                raise UnknownNameError("picture", name, known)
            print(f"{name}: {known[name].what}", flush=True)
            if not options.list:
                options.into.mkdir(parents=True, exist_ok=True)
                known[name].make(options.into)
    except PlannerError as error:
        print(f"pictures: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
