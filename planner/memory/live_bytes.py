"""The peak of live tensors over a grid of points, without replaying the allocator at each.

At every moment of the step the live bytes are a sum over distinct sizes of count × bytes. Most
moments can never be the peak: another holds at least as many of every size, or two others hold,
together, at least twice as many. What is left, tens to hundreds of moments, is evaluated as one
matrix product.
"""

from __future__ import annotations

import numpy as np

from planner.memory.allocator import MIN_BLOCK
from planner.memory.lifetimes import before_training, steady_step
from planner.trace.table import StepTrace

_CHUNK = 16384
# so few that looking at every moment is cheaper than finding those that can be the peak
_FEW_POINTS = 64


def peak_allocated(trace: StepTrace, dims: np.ndarray, *, accumulation: int = 1) -> np.ndarray:
    """Peak bytes of live tensors, each rounded to 512 B, at every point of ``dims =
    trace.dims(...)``: int64 [*points].

    Workspaces of libraries and the parts of blocks that the allocator does not split off are not in
    it.
    """
    points = dims.reshape(dims.shape[0], -1)
    few = points.shape[1] <= _FEW_POINTS
    counts = (_moments if few else candidate_moments)(trace, min(accumulation, 3)).astype(
        np.float64
    )
    out = np.empty(points.shape[1], dtype=np.int64)
    for start in range(0, points.shape[1], _CHUNK):
        part = points[:, start : start + _CHUNK]
        # in units of 512 B: sums stay exact in a double up to 4 EiB
        rounded = -(-trace.storage_bytes(part) // MIN_BLOCK)
        out[start : start + _CHUNK] = (counts @ rounded).max(axis=0) * MIN_BLOCK
    return out.reshape(dims.shape[1:])


def candidate_moments(trace: StepTrace, accumulation: int = 1) -> np.ndarray:
    """How many storages of each size are alive at each moment that can be the peak: int64
    [n_moments, n_sizes]."""
    kept = trace.__dict__.setdefault("_candidate_moments", {})
    if accumulation not in kept:
        kept[accumulation] = _pruned(_moments(trace, accumulation))
    return kept[accumulation]


def _moments(trace: StepTrace, accumulation: int) -> np.ndarray:
    """Counts by size after every run of allocations that a release follows, in the order of
    time."""
    # a gradient that is added to an earlier one is numbered past the storages
    size = np.concatenate([trace.size, trace.size])
    schedules = steady_step(trace, accumulation)
    events = np.concatenate([s.storage for s in schedules])
    birth = events >= 0
    start = np.bincount(
        trace.size[before_training(trace, with_optimizer=True)], minlength=len(trace.sizes)
    )
    change = np.zeros((len(events), len(trace.sizes)), dtype=np.int32)
    change[np.arange(len(events)), size[np.where(birth, events, ~events)]] = np.where(birth, 1, -1)
    np.cumsum(change, axis=0, out=change)
    turning = birth & ~np.append(birth[1:], False)
    return np.vstack([start, change[turning] + start])


def _pruned(moments: np.ndarray) -> np.ndarray:
    """Rows of which none is dominated, in the order of time."""
    keep = _undominated(moments)
    rows = moments[keep]
    while True:
        inside = _between(rows)
        if not inside.any():
            return rows
        rows = rows[~inside]


def _undominated(moments: np.ndarray) -> np.ndarray:
    """Indices, in order, of rows that no other row is at least as large as in every column (of
    equal rows, one stays)."""
    kept: list[int] = []
    table = np.empty_like(moments)
    for index in np.argsort(-moments.sum(axis=1), kind="stable"):
        row = moments[index]
        if not (table[: len(kept)] >= row).all(axis=1).any():
            table[len(kept)] = row
            kept.append(int(index))
    return np.array(sorted(kept))


def _between(rows: np.ndarray) -> np.ndarray:
    """Rows that the mean of an earlier and a later one, equally far, is at least as large as: never
    above both."""
    inside = np.zeros(len(rows), dtype=bool)
    for distance in range(1, (len(rows) - 1) // 2 + 1):
        ends = rows[: -2 * distance] + rows[2 * distance :]
        inside[distance : len(rows) - distance] |= (2 * rows[distance:-distance] <= ends).all(
            axis=1
        )
    return inside
