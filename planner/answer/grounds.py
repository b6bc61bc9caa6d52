"""What the figures stand on, where that is not what the reader expects: a calibration that was made
under load, and the corrections that the user's own runs taught."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from planner.devices.load import UnderLoad, calibration_prior
from planner.devices.specification import DeviceSpec
from planner.first_lines import FirstLine
from planner.parallel.network import network_of
from planner.plan.before_corrections import Before
from planner.uncertainty.corrections import Correction
from planner.units import SECONDS_PER_HOUR, format_bytes, format_seconds, format_usd

if TYPE_CHECKING:
    from planner.cost.bill import Bill
    from planner.plan.options import Option
    from planner.plan.placement.place import Placement

MEND = "Calibrate again on a quiet machine: planner calibrate"
NAMES = {
    "time": "time",
    "allocated": "allocated memory",
    "reserved": "reserved memory",
    "context": "the context's memory",
}
#: Corrections of these move the device's memory.
OF_MEMORY = ("allocated", "reserved", "context")


def ground_lines(spec: DeviceSpec) -> list[FirstLine]:
    """Of a device whose calibration was made under load."""
    load = None if spec.calibration is None else spec.calibration.load
    if load is None or spec.pricing == "exact" or load.share < calibration_prior("said_share"):
        return []
    made = (
        f"{load.share:.0%} of the calibration of {spec.name} were measured only while other "
        f"programs slowed the machine {load.slowdown:.2g} times"
    )
    return [FirstLine("device", f"{made}: {_therefore(spec, load)}. {MEND}", warning=True)]


def _therefore(spec: DeviceSpec, load: UnderLoad) -> str:
    if spec.pricing == "datasheet":
        return "times stand on the datasheet instead"
    return f"the range of times is wider for it (by {load.doubt_log:.0%}, all operations together)"


def network_lines(spec: DeviceSpec, devices: int) -> list[FirstLine]:
    """What was assumed of the network that several devices share; a warning where it lies between
    machines that nobody named."""
    network = network_of(spec, devices) if devices > 1 else None
    if network is None:
        return []
    crosses = network.between is not None
    return [FirstLine("device", text, warning=crosses) for text in network.said]


# ---- corrections


def corrected_lines(
    before: Before | None, placement: Placement, bill: Bill | None
) -> list[FirstLine]:
    """The figures that corrections moved, with what they were before."""
    if before is None:
        return []
    run, memory, plain = placement.run, placement.shown.proven_memory, before.setting.proven_memory
    moved: list[str] = []
    if any(one.quantity == "time" for one in before.corrections):
        now, then = (
            format_seconds(hours.p50 * SECONDS_PER_HOUR)
            for hours in (run.wall_hours, before.run.wall_hours)
        )
        moved.append(f"{now} ({then} before)")
        if bill is not None and before.usd is not None:
            moved.append(f"{format_usd(bill.usd.p50)} ({format_usd(before.usd.p50)} before)")
    if any(one.quantity in OF_MEMORY for one in before.corrections):
        now, then = (format_bytes(one.device_used_bytes.p50) for one in (memory, plain))
        moved.append(f"{now} of memory ({then} before)")
    text = f"your measured runs on this device correct {' and '.join(moved)}"
    return [FirstLine("device", f"{text}: {'; '.join(map(_taught, before.corrections))}")]


def _taught(one: Correction) -> str:
    name = NAMES[one.quantity]
    return f"{name} × {one.factor:.3g} by {one.runs} runs of {one.models} models, {one.judgement}"


def corrected_values(option: Option) -> dict[str, Any]:
    """For the document: nothing where no correction moved a figure."""
    before = option.before
    if before is None:
        return {}
    memory, step = before.setting.proven_memory, before.setting.step
    return {
        "corrected": {
            "by": [
                {
                    "quantity": one.quantity,
                    "factor": one.factor,
                    "runs": one.runs,
                    "models": one.models,
                    "learnt": one.made,
                    "judged": one.judged,
                    "error_before": one.error_before,
                    "error_after": one.error_after,
                }
                for one in before.corrections
            ],
            "before": {
                "step_seconds": step.seconds.as_dict(),
                "wall_hours": before.run.wall_hours.as_dict(),
                "gpu_hours": before.run.gpu_hours.as_dict(),
                "usd": None if before.usd is None else before.usd.as_dict(),
                "allocated_bytes": memory.allocated_bytes.as_dict(),
                "reserved_bytes": memory.reserved_bytes.as_dict(),
                "device_used_bytes": memory.device_used_bytes.as_dict(),
            },
        }
    }
