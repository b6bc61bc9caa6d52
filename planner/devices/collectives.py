"""Collectives as they were measured: seconds over bytes, of one operation among some ranks."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CollectiveCurve:
    """``points``: (bytes of the whole buffer, seconds of a quiet round, least seconds), the bytes
    rising. ``backend``: nccl or gloo. ``nodes``: the machines that the ranks were on. ``date``: the
    day of the measurement."""

    operation: str
    ranks: int
    nodes: int
    backend: str
    date: str
    points: tuple[tuple[float, float, float], ...]

    @property
    def of(self) -> tuple[str, int, int]:
        """What it was measured of; a newer curve of the same takes its place."""
        return self.operation, self.ranks, self.nodes

    def seconds(self, size_bytes: float) -> float:
        """Between two measured sizes a power of the size; below the smallest its seconds, above the
        largest its rate."""
        sizes = [point[0] for point in self.points]
        if size_bytes <= sizes[0]:
            return self.points[0][1]
        if size_bytes >= sizes[-1]:
            return self.points[-1][1] * size_bytes / sizes[-1]
        after = bisect_left(sizes, size_bytes)
        (small, least, _), (large, most, _) = self.points[after - 1], self.points[after]
        return least * (most / least) ** (math.log(size_bytes / small) / math.log(large / small))


def curve_for(
    curves: Iterable[CollectiveCurve], operation: str, ranks: int, nodes: int
) -> CollectiveCurve | None:
    """The one that was measured among as many ranks on as many machines."""
    return next((curve for curve in curves if curve.of == (operation, ranks, nodes)), None)


def merged(
    old: Iterable[CollectiveCurve], new: Sequence[CollectiveCurve]
) -> tuple[CollectiveCurve, ...]:
    """The new ones, and the old ones of what was not measured again, in a fixed order."""
    measured = {curve.of for curve in new}
    kept = [curve for curve in old if curve.of not in measured]
    return tuple(sorted((*kept, *new), key=lambda curve: curve.of))


def read(written: Iterable[Mapping[str, Any]]) -> tuple[CollectiveCurve, ...]:
    """From what ``as_written`` made. Raises KeyError, TypeError, ValueError."""
    return tuple(_read(one) for one in written)


def _read(written: Mapping[str, Any]) -> CollectiveCurve:
    points: list[tuple[float, float, float]] = []
    for row in written["points"]:
        size, middle, least = map(float, row)
        points.append((size, middle, least))
    curve = CollectiveCurve(
        str(written["operation"]),
        int(written["ranks"]),
        int(written["nodes"]),
        str(written["backend"]),
        str(written["date"]),
        tuple(points),
    )
    sizes = [point[0] for point in points]
    numbers = [number for point in points for number in point]
    wrong = not points or not all(0 < number < math.inf for number in numbers)
    if wrong or sizes != sorted(set(sizes)) or min(curve.ranks, curve.nodes) < 1:
        raise ValueError(f"collective {curve.operation} does not fit its points")
    return curve


def as_written(curves: Iterable[CollectiveCurve]) -> list[dict[str, Any]]:
    """JSON-able, seconds rounded to what a measurement can mean."""
    return [
        {
            "operation": curve.operation,
            "ranks": curve.ranks,
            "nodes": curve.nodes,
            "backend": curve.backend,
            "date": curve.date,
            "columns": ["bytes", "seconds", "least_seconds"],
            "points": [
                [int(size), *(float(f"{seconds:.4g}") for seconds in times)]
                for size, *times in curve.points
            ],
        }
        for curve in curves
    ]
