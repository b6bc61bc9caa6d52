"""What timed operations of one device say of another: fitted on some devices, judged on those left
out.

    python benchmarks/fit_transfer.py --tables DIR

DIR holds NeuSight's table (see ``operation_tables.neusight``). Three questions, each answered by
leaving whole devices out: Winograd's convolutions (kept: rows ``convolution,winograd_*`` of
``profiles/priors/device.csv``), the bandwidth that normalisations and softmax reach, and a common
surface of what the datasheet's price misses over normalised sizes (waves of tiles, depth, intensity
over the ridge, bytes over L2), which is printed so that anyone can see whether it is worth keeping.
All is fp32: of tensor cores it says nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.operation_tables import Timed, as_points, datasheet_seconds, neusight, spec_of  # noqa: E402
from planner.devices import priors  # noqa: E402

GRID = {
    "winograd_ratio": (1.5, 1.6, 1.7, 1.8, 1.9, 2.0, 2.1, 2.25),
    "winograd_weight_traffic": (4.0, 8.0, 12.0, 16.0, 20.0),
    "winograd_image_traffic": (0.1, 0.25, 0.5, 1.0, 2.0),
    "winograd_seconds": (2e-5, 4e-5, 6e-5, 8e-5, 1e-4, 1.2e-4),
}
ROUNDS = 2
KNOTS = (0.1, 0.3, 0.5, 0.7, 0.9)
RIDGE_SHARE = 0.02
LARGEST_ERROR = 3.0  # of a logarithm: more is a bad row

Data = dict[str, list[Timed]]
Prices = Callable[[str, list[Timed]], np.ndarray]


@contextmanager
def overridden(values: dict[str, float], kind: str = "convolution") -> Iterator[None]:
    """The planner's table of priors with other values for every device, for as long as the block
    lasts."""
    table = priors._table()
    before = {name: table[kind, name] for name in values}
    try:
        for name, value in values.items():
            table[kind, name] = {"": value}
        yield
    finally:
        for name, value in before.items():
            table[kind, name] = value


def errors(key: str, rows: list[Timed]) -> np.ndarray:
    """log(price / measured) of rows of one device."""
    return np.log(
        datasheet_seconds([r.case for r in rows], spec_of(key))
        / np.array([r.seconds for r in rows])
    )


def of_ops(data: Data, *ops: str) -> Data:
    chosen = {key: [r for r in rows if r.op in ops] for key, rows in data.items()}
    return {key: rows for key, rows in chosen.items() if rows}


def line(name: str, e: np.ndarray) -> str:
    return (
        f"  {name:16} median |log error| {np.median(np.abs(e)):.2f}, p90 "
        f"{np.quantile(np.abs(e), 0.9):.2f}, bias {np.median(e):+.2f}, n {e.size}"
    )


# ---- Winograd


def fit_winograd(data: Data) -> dict[str, float]:
    """Coordinate by coordinate. Ceilings are those of the same devices' matrix products, so levels
    count."""

    def loss(values: dict[str, float]) -> float:
        with overridden(values):
            return float(
                np.mean([np.mean(np.abs(errors(key, rows))) for key, rows in data.items()])
            )

    best = {name: grid[len(grid) // 2] for name, grid in GRID.items()}
    least = loss(best)
    for _ in range(ROUNDS):
        for name, grid in GRID.items():
            for value in grid:
                trial = best | {name: value}
                found = loss(trial)
                if found < least:
                    best, least = trial, found
    return best


def report_winograd(data: Data) -> None:
    data = of_ops(data, "conv")
    values = fit_winograd(data)
    print("convolution: " + ", ".join(f"{name} {value:g}" for name, value in values.items()))
    for key, rows in data.items():
        found = fit_winograd({k: r for k, r in data.items() if k != key})
        with overridden(found):
            print(line(f"left out {key}", errors(key, rows)))
        print(line("  rows shipped", errors(key, rows)))


# ---- bandwidth of rows


def report_bandwidth(data: Data) -> None:
    """Share of the bandwidth by the slope of time over bytes, which the launch of a module does not
    change."""
    for op in ("ln", "softmax"):
        for key, rows in of_ops(data, op).items():
            points = [point for r in rows for _, point in as_points(r.case, r.seconds)]
            moved, seconds = (
                np.array([p.bytes for p in points]),
                np.array([p.seconds for p in points]),
            )
            order = np.argsort(moved)
            low, high = order[: len(order) // 3], order[-(len(order) // 3) :]
            slope = (np.median(seconds[high]) - np.median(seconds[low])) / (
                np.median(moved[high]) - np.median(moved[low])
            )
            print(
                f"  {op:8} {key:16} share "
                f"{1 / slope / spec_of(key).memory_bandwidth_bytes_per_s:.2f}, "
                f"{line('', errors(key, rows)).strip()}"
            )


# ---- a surface over normalised sizes


def normalised(key: str, rows: list[Timed]) -> np.ndarray:
    """[n, 6]: logarithms of waves of 128×128 tiles, depth, intensity over the ridge, bytes over L2,
    and the shorter and longer side."""
    spec = spec_of(key)
    ridge = spec.peak("fp32") / spec.memory_bandwidth_bytes_per_s
    found = []
    for r in rows:
        point = as_points(r.case, r.seconds)[0][1]
        batch, m, n, k = point.features if len(point.features) == 4 else (1.0, *point.features, 1.0)
        found.append(
            (
                batch * m * n / 128**2 / spec.sm_count,
                k,
                point.flops / point.bytes / ridge,
                point.bytes / spec.l2_bytes,
                min(m, n),
                max(m, n),
            )
        )
    return np.log(np.array(found))


def hinges(sizes: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """A constant, and each size as a line that bends at its knots."""
    bent = [np.maximum(sizes[:, [i]] - knots[:, i], 0) for i in range(sizes.shape[1])]
    return np.concatenate([np.ones((len(sizes), 1)), sizes, *bent], axis=1)


def fit_surface(x: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Ridge regression of what the price misses, clipped to what any measurement showed."""
    knots = np.quantile(x, KNOTS, axis=0)
    columns = hinges(x, knots)
    spread = columns.std(axis=0) + 1e-9
    spread[0] = 1.0
    scaled = columns / spread
    weights = np.linalg.solve(
        scaled.T @ scaled + RIDGE_SHARE * len(x) * np.eye(scaled.shape[1]),
        scaled.T @ np.clip(y, -LARGEST_ERROR, LARGEST_ERROR),
    )
    low, high = x.min(axis=0), x.max(axis=0)
    return lambda at: hinges(np.clip(at, low, high), knots) / spread @ weights


def report_surface(data: Data) -> None:
    for op in ("bmm", "linear", "conv", "ln", "softmax"):
        sizes = {key: normalised(key, rows) for key, rows in of_ops(data, op).items()}
        missed = {key: errors(key, rows) for key, rows in of_ops(data, op).items()}
        better = 0
        print(f"surface, {op}:")
        for key in sizes:
            others = [k for k in sizes if k != key]
            surface = fit_surface(
                np.concatenate([sizes[k] for k in others]),
                np.concatenate([missed[k] for k in others]),
            )
            after = missed[key] - surface(sizes[key])
            better += all(
                np.quantile(np.abs(after), q) < np.quantile(np.abs(missed[key]), q)
                for q in (0.5, 0.9)
            )
            print(
                line(f"{key}", missed[key]) + f" → median {np.median(np.abs(after)):.2f}, p90 "
                f"{np.quantile(np.abs(after), 0.9):.2f}"
            )
        print(f"  better in median and p90 on {better} of {len(sizes)} devices left out")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--sample", type=int, default=500, help="rows of each operation and device")
    options = parser.parse_args()
    data = neusight(options.tables, options.sample)
    report_winograd(data)
    report_bandwidth(data)
    report_surface(data)


if __name__ == "__main__":
    main()
