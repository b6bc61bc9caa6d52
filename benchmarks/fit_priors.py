"""Fit the datasheet basis's few shape parameters to a public table of kernel times, and judge them
on devices left out.

    python benchmarks/fit_priors.py --tables DIR

DIR holds ``neusight_op_latency.csv.gz`` (op, gpu, dims, latency_ms; FP32, TF32 off;
github.com/sitar-lab/NeuSight, Lee et al., ASPLOS 2025). The table is not part of the project; what
it teaches are rows of ``profiles/priors/device.csv``. Its times are of one operation between two
events, so each carries the host's launch: the smallest time of an operation on a device is taken
off.
"""

from __future__ import annotations

import argparse
import csv
import gzip
from pathlib import Path

import numpy as np

from planner.devices.lookup import resolve_device
from planner.operations.products import ProductPriors, product_seconds

DEVICES = {
    "NVIDIA A100-PCIE-40GB": "a100-pcie-40",
    "NVIDIA A100 80GB PCIe": "a100-pcie-80",
    "Tesla P100-PCIE-16GB": "p100-pcie-16",
    "Tesla T4": "t4",
    "Tesla V100-PCIE-32GB": "v100-pcie-32",
}
TILES = ((128, 128), (128, 64), (64, 64), (32, 64), (32, 32))
# ceiling, depth, rates of the tiles after the first, bandwidth share
START = np.array([0.9, 32.0, 0.95, 0.85, 0.7, 0.5, 0.7])
OVERHEAD_QUANTILE = 0.002


def read(folder: Path, sample: int, seed: int = 0) -> dict[tuple[str, str], np.ndarray]:
    """(op, device key) → rows of dims and seconds, the launch taken off; a random sample of
    each."""
    groups: dict = {}
    with gzip.open(folder / "neusight_op_latency.csv.gz", "rt", newline="") as handle:
        for row in csv.DictReader(handle):
            if row["gpu"] in DEVICES:
                dims = [float(part.partition("=")[2]) for part in row["dims"].split(";")]
                groups.setdefault((row["op"], DEVICES[row["gpu"]]), []).append(
                    [*dims, float(row["latency_ms"]) / 1e3]
                )
    generator, out = np.random.default_rng(seed), {}
    for key, rows in groups.items():
        table = np.array(rows)
        table[:, -1] -= np.quantile(table[:, -1], OVERHEAD_QUANTILE)
        table = table[table[:, -1] > 2e-5]  # below that the launch's own scatter is most of it
        out[key] = table[generator.permutation(len(table))[:sample]]
    return out


def priors(x: np.ndarray) -> ProductPriors:
    return ProductPriors(
        x[0], x[1], tuple((m, n, r) for (m, n), r in zip(TILES, [1.0, *x[2:6]])), x[6], 0.0
    )


def shape_of(op: str, table: np.ndarray) -> tuple:
    """(batch, m, n, k, bytes) of a product; a convolution is the product that it is computed as."""
    if op in ("bmm", "linear"):
        b, m, n, k = table[:, :4].T
        return b, m, n, k, 4 * b * (m * k + k * n + m * n)
    batch, inside, outside, kernel, size, stride, padding = table[:, :7].T
    out = np.floor((size + 2 * padding - kernel) / stride) + 1
    moved = 4 * (batch * inside * size**2 + outside * inside * kernel**2 + batch * outside * out**2)
    return np.ones_like(batch), batch * out**2, outside, inside * kernel**2, moved


def predict(op: str, device: str, table: np.ndarray, x: np.ndarray) -> np.ndarray:
    spec = resolve_device(device).spec
    b, m, n, k, moved = shape_of(op, table)
    return product_seconds(
        b,
        m,
        n,
        k,
        moved_bytes=moved,
        flops_per_s=spec.peak("fp32"),
        bytes_per_s=spec.memory_bandwidth_bytes_per_s,
        multiprocessors=spec.sm_count,
        priors=priors(x),
    )


def log_errors(data: dict, ops: tuple[str, ...], device: str, x: np.ndarray) -> np.ndarray:
    return np.concatenate(
        [
            np.log(predict(op, d, table, x) / table[:, -1])
            for (op, d), table in data.items()
            if op in ops and d == device
        ]
    )


def fit(
    data: dict, ops: tuple[str, ...], devices: list[str], rounds: int, start: np.ndarray = START
) -> tuple[np.ndarray, dict[str, float]]:
    """Shape parameters common to the devices, and each device's own ceiling: the median error is
    taken into it."""
    generator = np.random.default_rng(1)

    def judged(x: np.ndarray) -> tuple[float, dict[str, float]]:
        errors = {d: log_errors(data, ops, d, x) for d in devices}
        ceilings = {d: float(min(1.0, x[0] * np.exp(np.median(e)))) for d, e in errors.items()}
        return float(
            np.mean([np.mean(np.abs(e - np.median(e))) for e in errors.values()])
        ), ceilings

    best, (loss, ceilings) = start.copy(), judged(start)
    for _ in range(rounds):
        trial = best * np.exp(
            generator.normal(size=best.size) * 0.25 * (generator.random(best.size) < 0.3)
        )
        trial[0], trial[2:] = START[0], np.minimum(trial[2:], 1.0)
        score, found = judged(trial)
        if score < loss:
            best, loss, ceilings = trial, score, found
    return best, ceilings


def judge_left_out(data: dict, ops: tuple[str, ...], devices: list[str], rounds: int) -> None:
    for device in devices:
        x, ceilings = fit(data, ops, [d for d in devices if d != device], rounds)
        x = np.array([float(np.median(list(ceilings.values()))), *x[1:]])
        errors = log_errors(data, ops, device, x)
        print(
            f"  left out {device:14} median |log error| {np.median(np.abs(errors)):.2f}, bias "
            f"{np.median(errors):+.2f}, p90 {np.quantile(np.abs(errors), 0.9):.2f}"
        )


def report_products(data: dict, ops: tuple[str, ...], rounds: int) -> None:
    devices = sorted({d for op, d in data if op in ops})
    x, ceilings = fit(data, ops, devices, rounds)
    print(
        f"{'+'.join(ops)}: depth {x[1]:.0f}, bandwidth_share {x[6]:.2f}, "
        + ", ".join(f"tile_{m}x{n} {r:.2f}" for (m, n), r in zip(TILES, [1.0, *x[2:6]]))
    )
    print("  ceilings " + ", ".join(f"{d} {c:.2f}" for d, c in ceilings.items()))
    judge_left_out(data, ops, devices, rounds)


def report_bandwidth(data: dict, op: str) -> None:
    """Share of the bandwidth that the largest quarter of the tensors reach: read once and written
    once."""
    for (name, device), table in sorted(data.items()):
        if name == op:
            moved = 8 * table[:, 0] * table[:, 1]
            large = moved >= np.quantile(moved, 0.75)
            share = (
                moved[large]
                / table[large, -1]
                / resolve_device(device).spec.memory_bandwidth_bytes_per_s
            )
            print(
                f"{op}: bandwidth_share {np.median(share):.2f} on {device} (p10 "
                f"{np.quantile(share, 0.1):.2f}, p90 {np.quantile(share, 0.9):.2f}, n "
                f"{large.sum()})"
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument(
        "--sample", type=int, default=1000, help="rows of each operation and device"
    )
    parser.add_argument("--rounds", type=int, default=300, help="trials of the random search")
    options = parser.parse_args()
    data = read(options.tables, options.sample)
    report_products(data, ("bmm", "linear"), options.rounds)
    report_products(data, ("conv",), options.rounds)
    for op in ("ln", "softmax"):
        report_bandwidth(data, op)


if __name__ == "__main__":
    main()
