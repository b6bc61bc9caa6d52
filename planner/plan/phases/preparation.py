"""What is done to the data once, before the first step, while the devices are paid and idle."""

from __future__ import annotations

from planner.figures import Estimate
from planner.plan.phases.course import Course, Phase


def preparation(course: Course) -> Phase:
    return Phase(Estimate.exact(0.0))
