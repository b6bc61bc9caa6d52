"""What the figures stand on, where that is not what the reader expects: a calibration that was made
under load."""

from __future__ import annotations

from planner.devices.load import UnderLoad, calibration_prior
from planner.devices.specification import DeviceSpec
from planner.first_lines import FirstLine

MEND = "Calibrate again on a quiet machine: planner calibrate"


def ground_lines(spec: DeviceSpec) -> list[FirstLine]:
    """The first lines of an answer on this device."""
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
