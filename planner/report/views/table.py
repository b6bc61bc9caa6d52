"""What every view gives to a format: a table of texts."""

from __future__ import annotations

from dataclasses import dataclass

DASH = "–"


@dataclass(frozen=True)
class Table:
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def one_line(cell: str) -> str:
    """A cell as running text: a second line that qualifies a figure stands in brackets."""
    first, *rest = cell.split("\n")
    return " ".join(
        [first, *(f"({line})" if "–" in line or "short" in line else line for line in rest)]
    )
