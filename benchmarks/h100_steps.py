"""The steps of a real GPU beside the planner's: what the host and the device need of each, and what
was measured.

    python benchmarks/h100_steps.py STEPS.csv [--gpu h100-sxm] [--profile FILE.json]

STEPS.csv: columns ``run`` (a name of ``GPU_RUNS`` in benchmarks/local_cases.py) and
``measured_ms``, and optionally ``datasheet_ms``, ``calibrated_ms``, ``exact_ms``, what an earlier
planner said on that machine. Nothing is fitted on them.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.local_cases import GPU_RUNS  # noqa: E402
from benchmarks.local_runs import question  # noqa: E402
from planner.devices import profile as profiles  # noqa: E402
from planner.devices.lookup import find_device  # noqa: E402
from planner.devices.measured import measured_spec  # noqa: E402
from planner.devices.specification import DeviceSpec  # noqa: E402
from planner.errors import PlannerError  # noqa: E402
from planner.plan.steps.point import evaluate  # noqa: E402
from planner.step_time.clock import StepClock, StepTime  # noqa: E402
from planner.trace.source import TraceSource  # noqa: E402
from planner.validate.cases import Case  # noqa: E402

EARLIER = ("datasheet_ms", "calibrated_ms", "exact_ms")


@dataclass(frozen=True)
class Row:
    """A run: measured milliseconds, what an earlier planner said, and today's step."""

    run: str
    measured: float
    earlier: dict[str, float]
    step: StepTime
    predicted: float

    @property
    def error(self) -> float:
        return self.predicted / self.measured - 1


def priced(case: Case, spec: DeviceSpec, folder: Path) -> tuple[StepTime, float]:
    """(the two clocks' step, milliseconds that an answer says). Raises PlannerError."""
    facts, recipe, sizes = question(case, folder)
    point = {"B": case.micro_batch}
    for symbol, name in (("S", "sequence_length"), ("T", "target_length")):
        if sizes[name] is not None:
            point[symbol] = sizes[name]
    trace = TraceSource(facts, recipe).at(**point)
    step = StepClock(spec).price(trace, trace.dims(**point), precision=recipe.precision)
    return step, 1e3 * evaluate(facts, recipe, spec, **sizes).step_seconds.p50


def rows_of(file: Path, spec: DeviceSpec) -> tuple[list[Row], list[str]]:
    """(the runs that were measured, why others could not be asked)."""
    cases, rows, refused = {case.id: case for case in GPU_RUNS}, [], []
    with file.open(newline="", encoding="utf-8") as handle, tempfile.TemporaryDirectory() as folder:
        for read in csv.DictReader(handle):
            try:
                step, said = priced(cases[read["run"]], spec, Path(folder))
            except PlannerError as error:
                refused.append(f"{read['run']}: {error}")
                continue
            earlier = {name: float(read[name]) for name in EARLIER if read.get(name)}
            rows.append(Row(read["run"], float(read["measured_ms"]), earlier, step, said))
    return rows, refused


def report(rows: list[Row]) -> str:
    lines = [
        "| run | measured ms | host ms | device ms | step ms | error | "
        + " | ".join(f"earlier {name.removesuffix('_ms')}" for name in EARLIER)
        + " |",
        "| --- | --: | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for row in rows:
        before = [
            f"{row.earlier[name] / row.measured - 1:+.1%}" if name in row.earlier else ""
            for name in EARLIER
        ]
        step = row.step
        lines.append(
            f"| {row.run} | {row.measured:.1f} | {1e3 * step.host_seconds:.1f} | "
            f"{1e3 * float(step.device_busy_seconds):.1f} | {row.predicted:.1f} | "
            f"{row.error:+.1%} | {' | '.join(before)} |"
        )
    lines.append("")
    lines.append(_summary("today", [row.error for row in rows]))
    for name in EARLIER:
        found = [r.earlier[name] / r.measured - 1 for r in rows if name in r.earlier]
        if found:
            lines.append(_summary(f"earlier {name.removesuffix('_ms')}", found))
    return "\n".join(lines)


def _summary(name: str, errors: list[float]) -> str:
    sizes = [abs(error) for error in errors]
    return (
        f"{name}: median error {statistics.median(sizes):.1%}, worst {max(sizes):.1%}, "
        f"bias {statistics.median(errors):+.1%} over {len(errors)} runs"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("steps", type=Path, metavar="STEPS.csv")
    parser.add_argument("--gpu", default="h100-sxm", help="whose datasheet (default: h100-sxm)")
    parser.add_argument("--profile", type=Path, help="a device profile instead of the datasheet")
    asked = parser.parse_args()
    spec = measured_spec(profiles.load(asked.profile)) if asked.profile else find_device(asked.gpu)
    rows, refused = rows_of(asked.steps, spec)
    print("\n".join([report(rows), *refused]))


if __name__ == "__main__":
    main()
