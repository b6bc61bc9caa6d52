"""The points of batch and length at which a step is recorded, so that its dimensions are told
apart."""

from __future__ import annotations

from planner.models.constants import constant
from planner.trace.table import OBJECTS, SHORTEST

#: Lengths at which dimensions are told apart: far from each other and from the widths of heads and
#: layers.
LENGTHS, TARGET_LENGTHS = (48, 112), (24, 40)
BATCHES = (2, 3)


def key_of(point: dict[str, int]) -> tuple:
    return tuple(sorted(point.items()))


def with_classes(
    points: list[dict[str, int]], numbers: tuple[int | None, ...], way: str
) -> list[dict[str, int]]:
    """The points at the numbers of classes: all of them where C mixes with the other symbols; else
    one at the second number, and one more that confirms it."""
    if not way:
        return points
    low, high = [[point | {"C": number} for point in points] for number in numbers if number]
    return low + high if way == "mixed" else low + high[:1] + high[1:][-1:]


def points_of(
    regime: str, symbols: str, past: int | None, exact: int | None, longest: int | None
) -> list[dict[str, int]]:
    """As many points as monomials, telling them apart."""
    batches = (1,) if regime.startswith("b1") else BATCHES
    first, second = (
        LENGTHS
        if longest is None or longest >= LENGTHS[1]
        else (max(SHORTEST, longest // 2), longest)
    )
    lengths = (exact,) if exact else (past, past + 64) if past else (first, second)
    if "S" not in symbols:
        return [{"B": b} for b in batches]
    points = [{"B": b, "S": s} for s in lengths for b in batches]
    if "T" not in symbols:
        return points
    return [{**p, "T": TARGET_LENGTHS[0]} for p in points] + [
        {**p, "T": TARGET_LENGTHS[1]} for p in points[: len(batches)]
    ]


def crowded(regime: str, is_full: bool) -> list[dict[str, int]]:
    """The points of a detector's largest batch, whose objects are a symbol."""
    batches = (1,) if regime.startswith("b1") else BATCHES
    objects = (int(constant("most_objects")),) if is_full else TARGET_LENGTHS
    return [{"B": b, OBJECTS: n} for n in objects for b in batches]
