"""Tables for a screen of any width: columns whose numbers have one unit, which stands in the
header, and of which some are left out where there is no room. Words only: no figure is worked out
here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from planner.report.views.table import DASH
from planner.report.words import hours_text, usd_text
from planner.units import format_gib, shared_time_unit

Figure = Mapping[str, float]


@dataclass(frozen=True)
class Column:
    """``unit``: of all its cells, in the header's second line. ``number``: stands at the right, in
    lines of its own making; ``whole``: of a text the same, at the left. ``drop``: 0 stays at any
    width, else those with the largest go first."""

    title: str
    cells: tuple[str, ...]
    unit: str = ""
    number: bool = False
    drop: int = 0
    whole: bool = False


@dataclass(frozen=True)
class Columns:
    """``marked``: the row that is recommended; ``faint``: rows that cannot be taken."""

    columns: tuple[Column, ...]
    marked: int | None = None
    faint: frozenset[int] = frozenset()


def names(title: str, cells: Iterable[str], *, drop: int = 0) -> Column:
    return Column(title, tuple(cells), drop=drop)


def numbers(title: str, cells: Iterable[str | None], *, unit: str = "", drop: int = 0) -> Column:
    """Aligned at the decimal point; None is a dash."""
    return Column(title, aligned(list(cells)), unit, True, drop)


def gib(title: str, sizes: Iterable[float | None], *, drop: int = 0) -> Column:
    cells = [None if size is None else format_gib(size) for size in sizes]
    return numbers(title, cells, unit="GiB", drop=drop)


def hours(
    title: str, figures: Sequence[Figure | None], *, drop: int = 0, drop_range: int = 0
) -> list[Column]:
    """Medians, and their 80 % intervals in the same unit."""
    like = shared_time_unit(each["p50"] for each in figures if each) if any(figures) else 0.0
    unit = hours_text(like, like).rpartition(" ")[2]

    def word(value: float) -> str:
        return hours_text(value, like).rpartition(" ")[0]

    return _with_range(title, figures, word, unit, drop, drop_range)


def dollars(
    title: str, figures: Sequence[Figure | None], *, drop: int = 0, drop_range: int = 0
) -> list[Column]:
    def word(value: float) -> str:
        return usd_text(value).removeprefix("$")

    return _with_range(title, figures, word, "$", drop, drop_range)


def _with_range(
    title: str,
    figures: Sequence[Figure | None],
    word: Callable[[float], str],
    unit: str,
    drop: int,
    drop_range: int,
) -> list[Column]:
    middles = [None if each is None else word(each["p50"]) for each in figures]
    ranges = [each if each and each["p10"] < each["p90"] else None for each in figures]
    lows = [None if each is None else word(each["p10"]) for each in ranges]
    highs = [None if each is None else word(each["p90"]) for each in ranges]
    widest = max((len(high) for high in highs if high), default=0)
    spans = [
        DASH if low is None or high is None else f"{low}–{high.ljust(widest)}"
        for low, high in zip(lows, highs)
    ]
    return [
        numbers(title, middles, unit=unit, drop=drop),
        Column("p10–p90", tuple(spans), unit, True, drop_range),
    ]


def aligned(cells: Sequence[str | None]) -> tuple[str, ...]:
    """Of one width, with their decimal points below each other; None is a dash. What is no number
    stands at the right."""
    after = [len(cell) - _point(cell) if _is_number(cell) else None for cell in cells]
    most = max((own for own in after if own is not None), default=0)
    padded = [
        (cell or DASH) + " " * (0 if own is None else most - own) for cell, own in zip(cells, after)
    ]
    width = max(map(len, padded), default=0)
    return tuple(cell.rjust(width) for cell in padded)


def _is_number(cell: str | None) -> TypeGuard[str]:
    return cell is not None and cell[:1].isdecimal()


def _point(cell: str) -> int:
    place = cell.find(".")
    return len(cell) if place < 0 else place
