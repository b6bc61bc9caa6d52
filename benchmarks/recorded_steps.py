"""Recorded steps as the planner understands them, and the datasheet's price of their operations.

``python -m benchmarks.recorded_steps FILE …`` with traces that torch.profiler exported (.json,
.json.gz), or with tables of their kernels (trace_*.csv.gz beside trace_steps.csv: a row a kernel,
with the operation around its launch, its sizes and types). Of each: step, busy share, how much was
understood, time by kind; by kind, over operations with sizes, the datasheet's price over the
recorded time: the median over operations of price / recorded, the median of its distance from 1
(as exp of the absolute logarithm), and the ratio of the sums.

Nothing of it is shipped. Public traces: facebookresearch/HolisticTraceAnalysis (tests/data),
AMD-AGI/TraceLens (tests/traces).
"""

from __future__ import annotations

import csv
import gzip
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np

from planner.calibrate.importers.operation_cases import CannotMap
from planner.calibrate.kineto.device import named
from planner.calibrate.kineto.naming import kind_of_name
from planner.calibrate.kineto.reading import Span
from planner.calibrate.kineto.recorded import recorded
from planner.calibrate.kineto.units import Unit
from planner.devices.lookup import resolve_device
from planner.devices.specification import DeviceSpec
from planner.errors import PlannerError
from planner.operations.cases import Case
from planner.operations.registry import work
from planner.step_time.roofline import Efficiency
from planner.trace.table import StepTrace

#: The shortest time that a clock of microseconds tells.
LEAST_SECONDS = 2e-6


@dataclass
class Judged:
    """``prices``: kind → (price, recorded) of each operation, in seconds."""

    name: str
    device: str
    steps: int
    step_seconds: float
    busy_share: float
    work_seconds: float
    by_kind: dict[str, float]
    understood: float = 0.0
    prices: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))


def judged(path: Path) -> Judged:
    """Raises PlannerError for a file that is neither."""
    return of_table(path) if path.name.endswith(".csv.gz") else of_trace(path)


def of_trace(path: Path) -> Judged:
    seen = recorded(path)
    found = Judged(
        path.name.removesuffix(".gz").removesuffix(".json"),
        str(seen.device.get("key") or seen.device.get("name")),
        len(seen.steps),
        seen.step_seconds,
        seen.busy_share,
        seen.work_seconds,
        seen.by_kind(),
    )
    _price(found, (unit for _, unit in seen.units), str(seen.device.get("key") or ""))
    return found


# ---- tables of kernels


def of_table(path: Path) -> Judged:
    """Kernels that follow each other under one operation of equal sizes are one operation; a table
    keeps no strides: all is taken as contiguous."""
    trace = path.name.removeprefix("trace_").removesuffix(".csv.gz")
    with (path.parent / "trace_steps.csv").open(encoding="utf-8", newline="") as file:
        steps = [r for r in csv.DictReader(file) if r["trace"] == trace]
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["start"]]
    listed = [r for r in steps if r["kernels_listed"] == "1"] or steps
    count = len({r["step"] for r in rows}) or 1
    kinds: dict[str, float] = defaultdict(float)
    for row in rows:
        kinds[row["class"]] += float(row["seconds"]) / count
    stated = [float(r["host_step_seconds"]) for r in listed if r["host_step_seconds"]]
    # where no step was marked, from the first kernel to the last
    ran = max(float(r["start"]) for r in rows) - min(float(r["start"]) for r in rows)
    seconds = statistics.median(stated or [ran])
    work_seconds = sum(kinds.values())
    device = steps[0]["device"]
    key = str(named(device).get("key") or "")
    busy = min(1.0, work_seconds / seconds) if seconds else 0.0
    found = Judged(trace, key or device, count, seconds, busy, work_seconds, dict(kinds))
    _price(found, _units(rows), key)
    return found


def _units(rows: Iterable[dict[str, str]]) -> Iterator[Unit]:
    def alike(row: dict[str, str]) -> tuple[str, ...]:
        return row["step"], row["op"], row["shapes"], row["dtypes"]

    for (_, op, shapes, dtypes), group in groupby(rows, alike):
        kernels = list(group)
        if not op or not shapes:
            continue
        sizes = [_dims(text) for text in shapes.split(";")]
        args = {"Input Dims": sizes, "Input type": dtypes.split(";")}
        seconds = sum(float(k["seconds"]) for k in kernels)
        span = Span(op, "cpu_op", ("", ""), 0.0, seconds, args)
        names = [k["kernel"] for k in kernels]
        yield Unit(op, kind_of_name(op), kernels[0]["phase"], span, seconds, names)


def _dims(text: str) -> list[int]:
    return [int(n) for n in text.split("x")] if text and text != "*" else []


# ---- prices


def _price(found: Judged, units: Iterable[Unit], key: str) -> None:
    from planner.calibrate.importers.recorded_cases import cases_of

    spec = _spec(key)
    computed = sum(s for kind, s in found.by_kind.items() if kind != "communication")
    for unit in units:
        try:
            cases = cases_of(unit)
        except CannotMap:
            continue
        found.understood += unit.seconds / found.steps / computed if computed else 0.0
        if spec is None or unit.seconds < LEAST_SECONDS:
            continue
        try:
            price = sum(price_of(case, spec) for case in cases)
        except PlannerError:  # a type whose rate the datasheet does not state
            continue
        found.prices[unit.kind].append((price, unit.seconds))


def _spec(key: str) -> DeviceSpec | None:
    return resolve_device(key).spec if key else None


def price_of(case: Case, spec: DeviceSpec) -> float:
    """Seconds of one call from the datasheet."""
    none = np.zeros(0, np.int32)
    trace = StepTrace(
        np.array([[n] for n in case.sizes], np.int64).reshape(-1, 1),
        ("1",),
        (case.signature,),
        np.zeros(1, np.int32),
        np.zeros(1, np.uint8),
        np.zeros(1, np.int32),
        (),
        none,
        none,
        none,
        none.astype(np.uint8),
        none,
        ("",),
    )
    dims = trace.dims().reshape(-1, 1)
    return float(Efficiency(spec, case.precision).seconds(trace, dims, work(trace, dims))[0, 0])


# ---- words


def show(found: Judged) -> None:
    print(
        f"\n{found.name} on {found.device}: {found.steps} steps, step "
        f"{found.step_seconds * 1e3:.3f} ms, busy {found.busy_share:.1%}, kernels "
        f"{found.work_seconds * 1e3:.3f} ms, understood {found.understood:.1%}"
    )
    print("  kind             ms a step   operations   price/recorded  error (median)  of sums")
    for kind, seconds in found.by_kind.items():
        pairs = found.prices.get(kind, [])
        print(f"  {kind:16s} {seconds * 1e3:9.3f}   {_judgement(pairs)}")


def _judgement(pairs: list[tuple[float, float]]) -> str:
    if not pairs:
        return f"{0:10d}"
    ratios = [price / seconds for price, seconds in pairs]
    error = math.expm1(statistics.median(abs(math.log(ratio)) for ratio in ratios if ratio > 0))
    sums = sum(p for p, _ in pairs) / sum(s for _, s in pairs)
    return f"{len(pairs):10d}   {statistics.median(ratios):14.2f}  {error:14.1%}  {sums:7.2f}"


def main(arguments: list[str]) -> int:
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    failed = 0
    for name in arguments:
        try:
            show(judged(Path(name)))
        except PlannerError as error:
            print(f"\n{error}", file=sys.stderr)
            failed = 1
    return failed


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
