"""Where the shipped tables are, and how they are read: the one reader of ``profiles/``.

In a checkout and in an editable install the folder lies beside the package; in the wheel inside it.
CSV through the standard library, not pandas: importing pandas costs more than the whole answer from
a shipped trace.
"""

from __future__ import annotations

import csv
import os
from functools import cache
from pathlib import Path

from planner.errors import ProfileError


@cache
def root() -> Path:
    """The folder of shipped tables; ``PLANNER_PROFILES`` overrides it. Raises ProfileError when
    there is none."""
    here = Path(__file__).resolve().parent
    candidates = [Path(p) for p in [os.environ.get("PLANNER_PROFILES")] if p] + [
        here.parent / "profiles",
        here / "_profiles",
    ]
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise ProfileError(
        "the shipped tables are missing", where=str(candidates[-1]), mend="Reinstall planner"
    )


def path(*parts: str) -> Path:
    return root().joinpath(*parts)


@cache
def rows(*parts: str) -> tuple[dict[str, str], ...]:
    """The rows of a CSV under ``profiles/``, every cell a string, blank where unknown. Raises
    ProfileError."""
    file = path(*parts)
    try:
        with file.open(newline="", encoding="utf-8") as handle:
            return tuple(csv.DictReader(line for line in handle if not line.startswith("#")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ProfileError(f"cannot read the table: {error}", where=str(file)) from error


def number(cell: str | None) -> float | None:
    """A cell's value, None where it is blank: unknown is never 0."""
    return float(cell) if cell not in (None, "") else None
