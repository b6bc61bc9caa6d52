"""From the command to the first step: imports, the device, reading the weights."""

from __future__ import annotations

from planner import units
from planner.figures import Estimate
from planner.plan.phases.course import Course, Phase
from planner.uncertainty.spread import overhead


def start_up(course: Course) -> Phase:
    speed = overhead("read_bytes_per_second")
    reading = Estimate(*(course.weights_bytes / rate for rate in (speed.p90, speed.p50, speed.p10)))
    return Phase((overhead("start_up_seconds") + reading).scale(1 / units.SECONDS_PER_HOUR))


def start_up_hours_at_least() -> float:
    """Of any run, at the median; reading the weights is left out."""
    return overhead("start_up_seconds").p50 / units.SECONDS_PER_HOUR
