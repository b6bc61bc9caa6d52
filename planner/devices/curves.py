"""A family's curve: what its operations take on a device that was measured, at any size.

    seconds = base(size) × exp(residual(size))
    base    = max(FLOP / fastest rate, bytes / fastest bandwidth) + latency

The fastest rate, the fastest bandwidth and the least time are the best that the family's own
measurements show, so no prediction is faster than the ceilings. The residual, the share that an
operation of this size falls short, is a Gaussian process over the logarithms of the sizes
(Rasmussen and Williams 2006, chapter 2; Matérn 3/2), smooth between the measurements and held at
its value at the edge beyond them, where efficiency saturates. Where it explains the measurements
better, FLOP are counted over whole tiles and waves of a device with multiprocessors. Length scales
are chosen by leave-one-out prediction, which also gives the curve's own error; both are stored, so
that reading a profile fits nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from planner.devices.priors import tiles
from planner.operations.call import Number
from planner.operations.products import ProductPriors, product_seconds
from planner.operations.registry import family_kind, features_of

#: Fewer measurements than this make no curve of sizes, only a rate.
FEWEST = 4
#: More than this add time, not knowledge: the rest is left for the points that are plotted.
MOST_KNOTS = 320
LENGTHS = (0.7, 1.4, 2.8, 5.6, 11.0)  # in natural logarithms: a factor of 2 to 60000
NOISES = (0.03, 0.1, 0.25)  # share of the residuals' variance that is the measurements' own scatter
OUTLIER = 4.0  # robust standard deviations
EXTRAPOLATED = 0.10  # added to sigma for each factor of e beyond the measured sizes: our prior


@dataclass(frozen=True)
class Point:
    """One measured size: ``features`` as ``features_of(family)`` names them, FLOP, bytes moved,
    median seconds of a call."""

    features: tuple[float, ...]
    flops: float
    bytes: float
    seconds: float
    low_seconds: float
    high_seconds: float


@dataclass(frozen=True)
class Error:
    """Of predicting each measured size from all others: median and 95th percentile of
    |log(predicted / measured)|; the standard deviation, outliers cut; the bias; and how many."""

    median: float
    p95: float
    sigma_log: float
    n: int


@dataclass(frozen=True)
class Curve:
    """Fitted by ``fit_curve``. ``multiprocessors`` > 0: FLOP are counted over whole waves of tiles
    on so many."""

    family: str
    points: tuple[Point, ...]
    flops_per_s: float
    bytes_per_s: float
    latency_seconds: float
    multiprocessors: int
    mean_log: float
    lengths: tuple[float, ...]
    knots: tuple[int, ...]  # indices into points
    weights: tuple[float, ...]  # one a knot
    error: Error

    def seconds(
        self, features: Sequence[Number], flops: Number, moved: Number
    ) -> tuple[np.ndarray, np.ndarray]:
        """(seconds, standard deviation of their logarithm) of one call at sizes that broadcast to
        one dimension [n]."""
        arrays = np.broadcast_arrays(
            *(np.atleast_1d(np.asarray(x, dtype=np.float64)) for x in (*features, flops, moved))
        )
        sizes, (work, traffic) = np.stack(arrays[:-2]), arrays[-2:]
        base = self._base(sizes, work, traffic)
        residual, known, beyond = self._residual(np.log(np.maximum(sizes, 1.0)))
        fastest = np.maximum(
            work / self.flops_per_s if self.flops_per_s else 0.0,
            traffic / self.bytes_per_s if self.bytes_per_s else 0.0,
        )
        return np.maximum(base * np.exp(residual), fastest), self._sigma(
            known
        ) + EXTRAPOLATED * beyond

    def beyond(self, features: Sequence[Number]) -> np.ndarray:
        """How far sizes lie beyond the measured ones, in logarithms summed over the features:
        [n]."""
        arrays = np.broadcast_arrays(*(np.atleast_1d(np.asarray(x, float)) for x in features))
        return self._residual(np.log(np.maximum(np.stack(arrays), 1.0)))[2]

    def _base(self, sizes: np.ndarray, flops: np.ndarray, moved: np.ndarray) -> np.ndarray:
        return base_seconds(
            sizes,
            flops,
            moved,
            self.flops_per_s,
            self.bytes_per_s,
            self.latency_seconds,
            self.multiprocessors,
            self.family,
        )

    @cached_property
    def _knots(self) -> np.ndarray:
        return np.log(
            np.maximum(
                np.array([self.points[i].features for i in self.knots], dtype=np.float64), 1.0
            )
        ).T

    @cached_property
    def _range(self) -> tuple[np.ndarray, np.ndarray]:
        sizes = np.log(
            np.maximum(np.array([p.features for p in self.points], dtype=np.float64), 1.0)
        ).T
        return sizes.min(axis=1, keepdims=True), sizes.max(axis=1, keepdims=True)

    def _residual(self, logs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(residual, closeness to the nearest knot from 1 to 0, how far beyond the measured sizes,
        in logarithms)."""
        low, high = self._range
        inside = np.clip(logs, low, high)
        beyond = np.abs(logs - inside).sum(axis=0)
        if not self.weights:
            return np.full_like(beyond, self.mean_log), np.ones_like(beyond), beyond
        near = _kernel(inside, self._knots, np.array(self.lengths))
        return self.mean_log + near @ np.array(self.weights), near.max(axis=1), beyond

    def _sigma(self, known: np.ndarray) -> np.ndarray:
        """The cross-validated error, which already holds for a size like the others left out; more
        where no knot is near."""
        return self.error.sigma_log * np.sqrt(1.0 + 3.0 * np.maximum(0.0, 0.5 - known))


def base_seconds(
    sizes: np.ndarray,
    flops: np.ndarray,
    moved: np.ndarray,
    flops_per_s: float,
    bytes_per_s: float,
    latency: float,
    multiprocessors: int,
    family: str,
) -> np.ndarray:
    """Ceilings plus latency, of sizes [n_features, n]."""
    work = _tiled(sizes, multiprocessors, family) if multiprocessors else flops
    compute = work / flops_per_s if flops_per_s else np.zeros(np.shape(moved))
    return np.maximum(compute, moved / bytes_per_s if bytes_per_s else 0.0) + latency


def _tiled(sizes: np.ndarray, multiprocessors: int, family: str) -> np.ndarray:
    """FLOP of whole waves of whole tiles, every multiprocessor counted, of the best of the tile
    shapes."""
    dtype = family.rpartition(".")[2]
    unit = ProductPriors(
        1.0,
        0.0,
        tiles("product_simt" if dtype in ("float32", "float64") else "product_tensor"),
        1.0,
        0.0,
    )
    batch, m, n, k = sizes
    return product_seconds(
        batch,
        m,
        n,
        k,
        moved_bytes=0.0,
        flops_per_s=1.0,
        bytes_per_s=1.0,
        multiprocessors=multiprocessors,
        priors=unit,
    )


def _kernel(one: np.ndarray, other: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Matérn 3/2 of points [d, n] and [d, m] → [n, m], 1 at distance 0."""
    squared = sum(
        ((a[:, None] - b[None, :]) / length) ** 2 for a, b, length in zip(one, other, lengths)
    )
    distance = np.sqrt(3.0 * squared)
    return (1.0 + distance) * np.exp(-distance)


# ---- fitting


def fit_curve(
    family: str, points: Sequence[Point], multiprocessors: int = 0, search: bool = True
) -> Curve:
    """The curve of a family's measurements. ``multiprocessors``: of the device, where its kernels
    cut results into tiles; used if the left-out measurements are predicted better with it.
    ``search`` False: usual length scales, in a tenth of the time. Raises ValueError without
    measurements."""
    points = tuple(_distinct(points))
    if not points:
        raise ValueError(f"no measurement of {family}")
    plain = _fit(family, points, 0, search)
    if not multiprocessors or not family_kind(family).tiled or len(points) < 2 * FEWEST:
        return plain
    tiled = _fit(family, points, multiprocessors, search)
    return tiled if tiled.error.sigma_log < 0.98 * plain.error.sigma_log else plain


def _distinct(points: Sequence[Point]) -> list[Point]:
    """One a size: the median of those measured more than once (a bias or none, a visit more)."""
    by_size: dict[tuple[tuple[float, ...], float, float], list[Point]] = {}
    for point in points:
        if point.seconds > 0 and np.isfinite(point.seconds):
            by_size.setdefault((point.features, point.flops, point.bytes), []).append(point)
    return [sorted(same, key=lambda p: p.seconds)[len(same) // 2] for same in by_size.values()]


def _fit(family: str, points: tuple[Point, ...], multiprocessors: int, search: bool) -> Curve:
    sizes = np.array([p.features for p in points], dtype=np.float64).T
    flops, moved, seconds = (
        np.array([getattr(p, name) for p in points]) for name in ("flops", "bytes", "seconds")
    )
    work = _tiled(sizes, multiprocessors, family) if multiprocessors else flops
    rate, bandwidth = float(np.max(work / seconds)), float(np.max(moved / seconds))
    ceilings = np.maximum(work / rate if rate else 0.0, moved / bandwidth if bandwidth else 0.0)
    smallest = int(np.argmin(seconds))
    # what a call without any work took is latency alone: a base of 0 would have no residual
    idle = seconds[ceilings == 0]
    latency = float(max(0.0, (seconds - ceilings)[smallest], np.min(idle) if idle.size else 0.0))
    base = base_seconds(sizes, flops, moved, rate, bandwidth, latency, multiprocessors, family)
    target = np.log(seconds / np.maximum(base, np.finfo(float).tiny))
    ceiling = float(np.max(flops / seconds)) if multiprocessors else rate
    names = features_of(family)
    curve = Curve(
        family,
        points,
        rate,
        bandwidth,
        latency,
        multiprocessors,
        float(np.median(target)),
        (),
        (),
        (),
        _error(target - np.median(target)),
    )
    if multiprocessors and ceiling <= 0:
        return curve
    if len(points) < FEWEST:
        # our prior for a family with hardly a measurement
        return replace(curve, error=Error(0.3, 0.6, 0.4, len(points)))
    chosen = _knots(np.log(np.maximum(sizes, 1.0)))
    return _with_process(
        curve, np.log(np.maximum(sizes[:, chosen], 1.0)), target[chosen], chosen, len(names), search
    )


def _knots(logs: np.ndarray) -> np.ndarray:
    """Indices of at most ``MOST_KNOTS`` points, each the farthest from those before it."""
    count = logs.shape[1]
    if count <= MOST_KNOTS:
        return np.arange(count, dtype=np.int64)
    chosen = [int(np.argmin(logs.sum(axis=0)))]
    distance = np.full(count, np.inf)
    while len(chosen) < MOST_KNOTS:
        distance = np.minimum(distance, ((logs - logs[:, chosen[-1:]]) ** 2).sum(axis=0))
        chosen.append(int(np.argmax(distance)))
    return np.array(sorted(chosen))


def _with_process(
    curve: Curve,
    logs: np.ndarray,
    target: np.ndarray,
    chosen: np.ndarray,
    dimensions: int,
    search: bool,
) -> Curve:
    """The Gaussian process of the residuals, its length scales and noise by leave-one-out."""
    noise_scale = np.ones(target.size)
    lengths, noise = np.full(dimensions, 2.8), 0.1
    solved = _solve(logs, target, lengths, noise, noise_scale)
    if search:
        lengths, noise, solved = _searched(logs, target, lengths, noise, noise_scale)
    spread = 1.4826 * np.median(np.abs(solved.left_out)) + 1e-6
    odd = np.abs(solved.left_out) > OUTLIER * spread
    if odd.any():  # a measurement that none of its neighbours expects is believed less
        noise_scale[odd] = 25.0
        solved = _solve(logs, target, lengths, noise, noise_scale)
    return replace(
        curve,
        mean_log=solved.mean,
        lengths=tuple(float(x) for x in lengths),
        knots=tuple(int(i) for i in chosen),
        weights=tuple(float(w) for w in solved.weights),
        error=_error(solved.left_out),
    )


@dataclass(frozen=True)
class _Solved:
    mean: float
    weights: np.ndarray
    left_out: np.ndarray  # measured less predicted from all others

    @property
    def loss(self) -> float:
        """Huber's, so that one bad measurement does not choose the length scales."""
        size = np.abs(self.left_out)
        edge = 0.15
        return float(np.mean(np.where(size < edge, 0.5 * size**2, edge * (size - 0.5 * edge))))


def _solve(
    logs: np.ndarray, target: np.ndarray, lengths: np.ndarray, noise: float, noise_scale: np.ndarray
) -> _Solved:
    """Weights and the closed form of leave-one-out (Rasmussen and Williams 2006, equation 5.12),
    the mean by generalised least squares. The signal's variance cancels but for its ratio to the
    noise."""
    matrix = _kernel(logs, logs, lengths) + np.diag(noise * noise_scale)
    inverse = np.linalg.inv(matrix)
    column = inverse.sum(axis=1)
    mean = float(column @ target / column.sum())
    weights = inverse @ (target - mean)
    return _Solved(mean, weights, weights / np.diag(inverse))


def _searched(
    logs: np.ndarray, target: np.ndarray, lengths: np.ndarray, noise: float, noise_scale: np.ndarray
) -> tuple[np.ndarray, float, _Solved]:
    """Coordinate by coordinate, twice: a handful of small matrices."""
    best = _solve(logs, target, lengths, noise, noise_scale)
    for _ in range(2):
        before = best.loss
        for dimension in range(len(lengths)):
            if np.ptp(logs[dimension]) == 0:
                continue
            for length in LENGTHS:
                trial = lengths.copy()
                trial[dimension] = length
                solved = _solve(logs, target, trial, noise, noise_scale)
                if solved.loss < best.loss:
                    best, lengths = solved, trial
        for level in NOISES:
            solved = _solve(logs, target, lengths, level, noise_scale)
            if solved.loss < best.loss:
                best, noise = solved, level
        if best.loss > 0.995 * before:
            break
    return lengths, noise, best


def _error(left_out: np.ndarray) -> Error:
    size = np.abs(left_out)
    sigma = max(
        1.4826 * float(np.median(size)),
        float(np.sqrt(np.mean(np.minimum(size, np.quantile(size, 0.95)) ** 2))),
    )
    return Error(float(np.median(size)), float(np.quantile(size, 0.95)), sigma, int(size.size))
