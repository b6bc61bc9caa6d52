"""Time of matrix products from their shape: tiles over multiprocessors, waves of tiles, depth, and
memory traffic.

A kernel cuts the result into tiles; each multiprocessor computes one at a time, so the last wave
may leave most of them idle, and a result smaller than a tile wastes the rest of it. A tile's time
grows with the depth plus a constant (filling the pipeline). Kernels with too few tiles cut the
depth instead (split-K). The library is taken to choose the best tile. Never faster than ``ceiling ×
peak`` or ``bandwidth_share × bandwidth``, and where both take about as long, slower than either: a
multiprocessor that waits for its operands does not multiply, so the two are joined by a power mean.
Method as in NeuSight (Lee et al., ASPLOS 2025), with hand-written curves in place of learnt ones.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from planner.operations.call import Number

_TWICE_SQUARED = 4.0
MIN_SPLIT_DEPTH = 256  # a slice of the depth shorter than this is not worth the sum that follows


@dataclass(frozen=True)
class ProductPriors:
    """``ceiling``: share of the peak that the best shapes reach; ``depth``: elements of K that
    filling the pipeline is worth; ``tiles``: (rows, columns, rate against the best tile);
    ``bandwidth_share``; ``latency_seconds`` of one kernel; ``splits``: whether kernels cut the
    depth where tiles are few (into a share of slices, so that a deeper product never takes less);
    ``overlap``: the power by which arithmetic and traffic are joined, infinity where either hides
    behind the other whole.
    """

    ceiling: float
    depth: float
    tiles: tuple[tuple[int, int, float], ...]
    bandwidth_share: float
    latency_seconds: float
    splits: bool = True
    overlap: float = float("inf")


def product_seconds(
    batch: Number,
    m: Number,
    n: Number,
    k: Number,
    *,
    moved_bytes: Number,
    flops_per_s: float,
    bytes_per_s: float,
    multiprocessors: int,
    priors: ProductPriors,
) -> np.ndarray:
    """Seconds of ``batch`` products (m × k)·(k × n); arrays broadcast."""
    batch, m, n, k = (_scalar_if_constant(x) for x in (batch, m, n, k))
    each = flops_per_s * priors.ceiling / multiprocessors
    ways: list[Number] = []
    for rows, columns, relative in priors.tiles:
        count = batch * np.ceil(m / rows) * np.ceil(n / columns)
        splits = (
            np.maximum(1, np.minimum(multiprocessors // np.maximum(count, 1), k / MIN_SPLIT_DEPTH))
            if priors.splits
            else 1
        )
        waves = np.ceil(count * splits / multiprocessors)
        seconds = waves * (2 * rows * columns * (k / splits + priors.depth)) / (each * relative)
        ways.append(seconds)
    best = functools.reduce(np.minimum, ways)
    traffic = moved_bytes / (bytes_per_s * priors.bandwidth_share)
    return joined(best, traffic, priors.overlap) + priors.latency_seconds


def joined(arithmetic: Number, traffic: Number, power: float) -> np.ndarray:
    """Seconds of a kernel that computes and moves at once: ``(a^p + t^p)^(1/p)``, the longer of the
    two for an infinite power, never less than it, and at most 2^(1/p) of it. Arrays broadcast."""
    if np.ndim(traffic) == 0 and traffic == 0.0:
        return np.asarray(arithmetic)
    longer = np.maximum(arithmetic, traffic)
    if not np.isfinite(power):
        return longer
    ratio = np.minimum(arithmetic, traffic) / np.maximum(longer, np.finfo(float).tiny)
    if power == _TWICE_SQUARED:  # two squares and two roots are a fraction of a power's time
        return longer * np.sqrt(np.sqrt(1.0 + np.square(np.square(ratio))))
    return longer * (1.0 + ratio**power) ** (1.0 / power)


def _scalar_if_constant(x: Number) -> Number:
    """Arrays over many points of a width that no point changes are most of the work otherwise."""
    x = np.asarray(x, dtype=np.float64)
    return float(x.flat[0]) if x.size and (x == x.flat[0]).all() else x
