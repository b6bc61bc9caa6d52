"""Collectives as they were measured: seconds over bytes, of one operation among some ranks."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class CollectiveCurve:
    """``points``: (bytes of the whole buffer, seconds), the bytes rising. ``backend``: nccl or
    gloo. ``nodes``: the machines that the ranks were on."""

    operation: str
    ranks: int
    nodes: int
    backend: str
    points: tuple[tuple[float, float], ...]

    def seconds(self, size_bytes: float) -> float:
        """Between two measured sizes a power of the size; below the smallest its seconds, above the
        largest its rate."""
        sizes = [size for size, _ in self.points]
        if size_bytes <= sizes[0]:
            return self.points[0][1]
        if size_bytes >= sizes[-1]:
            return self.points[-1][1] * size_bytes / sizes[-1]
        after = bisect_left(sizes, size_bytes)
        (small, least), (large, most) = self.points[after - 1], self.points[after]
        return least * (most / least) ** (math.log(size_bytes / small) / math.log(large / small))


def curve_for(
    curves: Iterable[CollectiveCurve], operation: str, ranks: int, nodes: int
) -> CollectiveCurve | None:
    """The one that was measured among as many ranks on as many machines."""
    for curve in curves:
        if (curve.operation, curve.ranks, curve.nodes) == (operation, ranks, nodes):
            return curve
    return None
