"""Fit the shape parameters of tensor-core products to tables of timed products, and judge them on
devices left out.

    python benchmarks/fit_products.py --kernels DIR

DIR holds the tables that ``kernel_tables.py`` reads. What is common to the devices is fitted
(``depth``, rates of the tiles, ``bandwidth_share``, ``overlap_power``, a kernel's latency,
``tf32_share``); a device's ceiling is what others found that its best products reach
(``published_kernels.csv``), but for the last line, where it is fitted too. The tables are not part
of the project; what they teach are rows of ``profiles/priors/device.csv``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.kernel_tables import Kernels, kernels  # noqa: E402
from benchmarks.operation_tables import spec_of  # noqa: E402
from benchmarks.tables.common import read_rows  # noqa: E402
from planner.operations.products import ProductPriors, product_seconds  # noqa: E402
from planner.operations.shapes import product_of  # noqa: E402
from planner.trace.table import ITEMSIZE  # noqa: E402

PUBLISHED = Path(__file__).resolve().parent / "published_kernels.csv"
TILES = ((256, 128), (128, 128), (128, 64), (64, 64), (64, 32))
NAMES = (
    "depth",
    "tile_128x128",
    "tile_128x64",
    "tile_64x64",
    "tile_64x32",
    "bandwidth_share",
    "overlap_power",
    "latency_seconds",
    "tf32_share",
)
START = np.array([100.0, 0.95, 0.8, 0.5, 0.35, 0.85, 5.0, 4e-6, 0.95])
LEAST = np.array([20.0, 0.05, 0.05, 0.05, 0.05, 0.4, 1.5, 1e-6, 0.5])
MOST = np.array([300.0, 1.0, 1.0, 1.0, 1.0, 0.95, 12.0, 1e-5, 1.0])
STEP, MOVED = 0.15, 0.3


@dataclass(frozen=True)
class Products:
    """Timed products of one device and type: ``sizes`` [4, n] of batch, m, n and k."""

    device: str
    kind: str
    sizes: np.ndarray
    moved_bytes: np.ndarray
    seconds: np.ndarray
    flops_per_s: float
    tf32: bool


def products(tables: Mapping[str, Sequence[Kernels]]) -> list[Products]:
    """The products of 16 bits and of TF32 among the kernels, by device, table and type."""
    found = []
    for key, rows in tables.items():
        for source, kind in sorted({(r.source, r.kind) for r in rows}):
            own = [r for r in rows if (r.source, r.kind) == (source, kind)]
            if kind in ("matmul float16", "matmul bfloat16", "matmul tf32"):
                found.append(_products(key, f"{source} {kind}", own))
    return found


def _products(key: str, kind: str, rows: Sequence[Kernels]) -> Products:
    spec, tf32 = spec_of(key), kind.endswith("tf32")
    shapes = [product_of(row.cases[0].call) for row in rows]
    sizes = np.array([[float(np.max(x)) for x in (s.batch, s.m, s.n, s.k)] for s in shapes]).T
    b, m, n, k = sizes
    item = ITEMSIZE[shapes[0].left.dtype]
    return Products(
        key,
        kind,
        sizes,
        item * b * (m * k + k * n + m * n),
        np.array([row.seconds for row in rows]),
        spec.peak_flops["tf32" if tf32 else "fp16"],
        tf32,
    )


def log_errors(one: Products, x: np.ndarray, ceiling: float) -> np.ndarray:
    """log(price / measured) of one device's products."""
    spec = spec_of(one.device)
    assert spec.memory_bandwidth_bytes_per_s is not None
    priors = ProductPriors(
        ceiling=ceiling * (x[8] if one.tf32 else 1.0),
        depth=x[0],
        tiles=both_ways(x[1:5].tolist()),
        bandwidth_share=x[5],
        latency_seconds=x[7],
        overlap=x[6],
    )
    predicted = product_seconds(
        *one.sizes,
        moved_bytes=one.moved_bytes,
        flops_per_s=one.flops_per_s,
        bytes_per_s=spec.memory_bandwidth_bytes_per_s,
        multiprocessors=spec.sm_count or 1,
        priors=priors,
    )
    return np.log(predicted / one.seconds)


def both_ways(rates: Sequence[float]) -> tuple[tuple[int, int, float], ...]:
    pairs = list(zip(TILES, (1.0, *rates)))
    found = [tile for (m, n), r in pairs for tile in ((m, n, float(r)), (n, m, float(r)))]
    return tuple(dict.fromkeys(found))


def ceilings() -> dict[str, float]:
    """By device: share of the peak that the best products reach, as published."""
    return {r["device"]: float(r["value"]) for r in read_rows(PUBLISHED) if r["name"] == "mamf"}


def fit(taught: Sequence[Products], rounds: int, seed: int = 0) -> np.ndarray:
    """Random search for the least mean |log error|, every device with the same weight."""
    generator, most = np.random.default_rng(seed), ceilings()

    def loss(x: np.ndarray) -> float:
        return float(
            np.mean([np.mean(np.abs(log_errors(one, x, most[one.device]))) for one in taught])
        )

    best, least = START.copy(), loss(START)
    for _ in range(rounds):
        moved = generator.random(best.size) < MOVED
        trial = np.clip(best * np.exp(generator.normal(size=best.size) * STEP * moved), LEAST, MOST)
        found = loss(trial)
        if found < least:
            best, least = trial, found
    return best


def without(data: Sequence[Products], device: str, rounds: int) -> dict[str, np.ndarray]:
    """By kind: log errors of a device that did not teach."""
    x = fit([one for one in data if one.device != device], rounds)
    own = ceilings()[device]
    return {one.kind: log_errors(one, x, own) for one in data if one.device == device}


def line(name: str, errors: np.ndarray) -> str:
    size = np.abs(np.expm1(errors))
    return (
        f"  {name:34} n {errors.size}, median {np.median(size):.1%}, p95 "
        f"{np.quantile(size, 0.95):.1%}, bias {np.expm1(np.median(errors)):+.1%}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kernels", type=Path, required=True)
    parser.add_argument("--sample", type=int, default=1000, help="rows of each table and type")
    parser.add_argument("--rounds", type=int, default=600, help="trials of the random search")
    options = parser.parse_args()
    data = products(kernels(options.kernels, options.sample))
    for device in sorted({one.device for one in data}):
        print(f"{device} left out")
        for kind, errors in without(data, device, options.rounds).items():
            print(line(kind, errors))
    x = fit(data, options.rounds)
    print("all: " + ", ".join(f"{name} {value:.3g}" for name, value in zip(NAMES, x)))
    for one in data:
        own = ceilings()[one.device]
        errors = log_errors(one, x, own)
        print(line(f"{one.device} {one.kind}", errors))
        print(f"    its own ceiling {min(1.0, own * float(np.exp(np.median(errors)))):.2f}")


if __name__ == "__main__":
    main()
