"""What a chart shows in one breath, for those who do not see it; the table beside it carries every
row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
NOTHING = "nothing to draw"
#: Characters that a listener hears out, and those of a row's name and of its figures.
LONGEST, NAME, WORDS = 360, 60, 40


def told(rows: Sequence[Row], by: str | None = None) -> str:
    """Every row, where few; else the recommended one and the ends: of the figure ``by``, or as the
    rows stand. At most ``LONGEST`` characters."""
    whole = "; ".join(map(_row, rows)) or NOTHING
    return whole if len(whole) <= LONGEST else "; ".join(_in_short(rows, by))


def _in_short(rows: Sequence[Row], by: str | None) -> list[str]:
    marked = [f"recommended: {_row(row)}" for row in rows if _is_advised(row)]
    ends = list(rows)
    if by is not None:
        known = [row for row in rows if row.get(by) is not None]
        ends = sorted(known, key=lambda row: row[by]) or ends
    span = f"from {_row(ends[0])}, to {_row(ends[-1])}"
    return [f"{len(rows)} in all", *marked[:1], span]


def _is_advised(row: Row) -> bool:
    return row.get("state") == "recommended" or row["name"].endswith("✓")


def _row(row: Row) -> str:
    return f"{_cut(row['name'], NAME)}: {_cut(row['words'], WORDS)}"


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
