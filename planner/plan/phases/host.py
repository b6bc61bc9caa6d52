"""The machine around the devices: its virtual cores, whether it is rented, and its link to a
device."""

from __future__ import annotations

from dataclasses import dataclass

from planner.cost.prices.cores import cores_per_device
from planner.devices.specification import DeviceSpec
from planner.figures import Estimate
from planner.question import Question
from planner.uncertainty.spread import overhead

#: The generation of PCIe that the row of run.csv is of; each later one doubles it.
FIRST_GENERATION = 3
#: What a calibration measured of the link.
MEASURED_LINK = "host_to_device_pinned_bytes_per_s"


@dataclass(frozen=True)
class Host:
    """``cores``: virtual cores for each device, at least 1; ``is_rented``: a machine that starts
    empty, of which cores are the median that providers give."""

    cores: int
    is_rented: bool


def host_of(question: Question, spec: DeviceSpec) -> Host:
    own = spec.one_clock or question.owned_usd is not None or question.gpu == "local"
    if spec.one_clock and spec.sm_count:
        return Host(spec.sm_count, is_rented=False)
    return Host(max(1, round(cores_per_device(spec.key))), is_rented=not own)


def link_seconds_a_byte(spec: DeviceSpec) -> Estimate:
    """From pinned memory to the device: measured, else by the link's generation; nothing on a
    processor, which shares its memory."""
    if spec.one_clock:
        return Estimate.exact(0.0)
    measured = spec.calibration.facts.get(MEASURED_LINK) if spec.calibration else None
    if measured:
        return Estimate.exact(1 / measured)
    generation = spec.pcie_generation or FIRST_GENERATION
    rate = overhead("link_bytes_per_second_of_generation_3")
    faster = 2.0 ** (generation - FIRST_GENERATION)
    return Estimate(*(1 / (value * faster) for value in (rate.p90, rate.p50, rate.p10)))
