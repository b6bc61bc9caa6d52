"""Public tables of timed operations as cases of the planner, and the datasheet's price of cases.
Not shipped."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from planner.devices.curves import Point
from planner.devices.lookup import resolve_device
from planner.devices.specification import DeviceSpec
from planner.operations.cases import Case, case
from planner.operations.registry import cost, terms, work
from planner.step_time.roofline import Efficiency
from planner.trace.table import Operand, StepTrace
from planner.units import GIB, GIGA, MIB, TERA

NEUSIGHT = "neusight_op_latency.csv.gz"
DEVICES = {
    "NVIDIA A100-PCIE-40GB": "a100-pcie-40",
    "NVIDIA A100 80GB PCIe": "a100-pcie-80",
    "Tesla P100-PCIE-16GB": "p100-pcie-16",
    "Tesla T4": "t4",
    "Tesla V100-PCIE-32GB": "v100-pcie-32",
    "Tesla P4": "p4",
}
#: The device of the table that the planner cannot train on (8 GB, inference): NVIDIA Tesla P4
#: datasheet (5.5 TFLOP/s, 192 GB/s, 75 W), GP104's 20 SMs, 2 MiB L2.
P4 = DeviceSpec(
    "p4",
    "nvidia",
    "Tesla P4",
    int(7.43 * GIB),
    False,
    192 * GIGA,
    {"fp32": 5.5 * TERA, "fp16": 5.5 * TERA},
    75.0,
    None,
    3,
    20,
    2 * MIB,
    "6.1",
    "2016-09-13",
    "documented",
    "",
    "NVIDIA Tesla P4 datasheet",
)
OVERHEAD_QUANTILE = 0.002


@dataclass(frozen=True)
class Timed:
    """A case and its measured seconds; ``op`` as the table names it."""

    op: str
    case: Case
    seconds: float


def spec_of(key: str) -> DeviceSpec:
    return P4 if key == "p4" else resolve_device(key).spec


def neusight(
    folder: Path, sample: int, seed: int = 0, least_seconds: float = 2e-5
) -> dict[str, list[Timed]]:
    """By device key, a random sample of ``sample`` rows of each operation
    (github.com/sitar-lab/NeuSight, Lee et al., ASPLOS 2025).

    FP32, TF32 off, one operation between two events, so each time carries the host's launch: the
    smallest time of any operation on that device is taken off (not of each: the smallest
    normalisation of the table moves 16 MB), and what is then shorter than ``least_seconds`` is left
    out, for there the launch's own scatter is most of it.
    """
    groups: dict[tuple[str, str], list] = {}
    with gzip.open(folder / NEUSIGHT, "rt", newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            if row["gpu"] in DEVICES:
                dims = [int(part.partition("=")[2]) for part in row["dims"].split(";")]
                groups.setdefault((DEVICES[row["gpu"]], row["op"]), []).append(
                    (dims, float(row["latency_ms"]) / 1e3)
                )
    generator, found, launches = np.random.default_rng(seed), {}, _launches(groups)
    for (key, op), rows in sorted(groups.items()):
        launch = launches[key]
        kept = [
            (dims, seconds - launch) for dims, seconds in rows if seconds - launch > least_seconds
        ]
        chosen = generator.permutation(len(kept))[:sample]
        found.setdefault(key, []).extend(
            Timed(op, _case(op, kept[i][0]), kept[i][1]) for i in chosen
        )
    return found


def _launches(groups: dict[tuple[str, str], list]) -> dict[str, float]:
    """Seconds of the host's launch by device; where only convolutions were timed, at most what the
    others need."""
    found: dict[str, float] = {}
    for (key, _), rows in groups.items():
        smallest = float(np.quantile([seconds for _, seconds in rows], OVERHEAD_QUANTILE))
        found[key] = min(found.get(key, smallest), smallest)
    usual = float(np.median(list(found.values())))
    small = {key for key, op in groups if op != "conv"}
    return {key: value if key in small else min(value, usual) for key, value in found.items()}


def _case(op: str, dims: list[int]) -> Case:
    kind = "float32"
    if op == "bmm":
        b, m, n, k = dims
        return case("aten.bmm.default", [((b, m, k), kind), ((b, k, n), kind)], [((b, m, n), kind)])
    if op == "linear":
        b, m, n, k = dims
        return case(
            "aten.addmm.default",
            [((n,), kind), ((b * m, k), kind), ((k, n), kind, "t")],
            [((b * m, n), kind)],
        )
    if op == "conv":
        return _convolution(*dims)
    rows, width = dims
    x, each, weight = ((rows, width), kind), ((rows, 1), kind), ((width,), kind)
    if op == "ln":
        return case(
            "aten.native_layer_norm.default",
            [x, weight, weight],
            [x, each, each],
            normalized_shape=(width,),
            eps=1e-5,
        )
    return case("aten._softmax.default", [x], [x], dim=-1, half_to_float=False)


def _convolution(
    batch: int, inside: int, outside: int, kernel: int, size: int, stride: int, padding: int
) -> Case:
    after = (size + 2 * padding - kernel) // stride + 1
    return case(
        "aten.convolution.default",
        [((batch, inside, size, size), "float32"), ((outside, inside, kernel, kernel), "float32")],
        [((batch, outside, after, after), "float32")],
        stride=(stride, stride),
        padding=(padding, padding),
        dilation=(1, 1),
        transposed=False,
        output_padding=(0, 0),
        groups=1,
    )


def as_points(
    one: Case, seconds: float, low: float | None = None, high: float | None = None
) -> list[tuple[str, Point]]:
    """(family, point) of a case that is one term; none of one that is several, whose shares nobody
    measured."""
    done = cost(one.signature, one.dims)
    found = terms(one.call, done.flops, done.read_bytes + done.write_bytes, one.precision)
    if len(found) != 1:
        return []
    term = found[0]
    return [
        (
            term.family,
            Point(
                tuple(float(f) for f in term.features),
                float(term.flops),
                float(term.bytes),
                seconds,
                low or seconds,
                high or seconds,
            ),
        )
    ]


def datasheet_seconds(cases: Sequence[Case], spec: DeviceSpec) -> np.ndarray:
    """What the datasheet basis makes of each case: float64 [n_cases]. Cases of one precision."""
    sizes, signatures = [], []
    for one in cases:
        first = len(sizes)
        sizes += one.sizes
        inputs, outputs = (
            tuple(_shifted(o, first) for o in side)
            for side in (one.signature.inputs, one.signature.outputs)
        )
        signatures.append(replace(one.signature, inputs=inputs, outputs=outputs))
    trace = _trace_of(tuple(signatures), sizes)
    dims = trace.dims()[:, None]
    return Efficiency(spec, cases[0].precision).seconds(trace, dims, work(trace, dims))[:, 0]


def _shifted(operand: Operand, by: int) -> Operand:
    return replace(operand, shape=tuple(form + by for form in operand.shape))


def _trace_of(signatures: tuple, sizes: list[int]) -> StepTrace:
    none = np.zeros(0, dtype=np.int32)
    return StepTrace(
        np.array(sizes, dtype=np.int64)[:, None],
        ("1",),
        signatures,
        none,
        none.astype(np.uint8),
        none,
        (),
        none,
        none,
        none,
        none.astype(np.uint8),
        none,
        (),
    )
