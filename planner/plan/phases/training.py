"""The optimizer steps, or the loading of their samples, whichever is longer."""

from __future__ import annotations

import math

from planner import units
from planner.devices.specification import DeviceSpec
from planner.figures import Estimate
from planner.plan.phases.course import Course, Phase


def training(course: Course) -> Phase:
    """All steps, with the errors of the step and of the data's size."""
    seconds, notes, warnings = _step_seconds(course)
    data = course.data
    data_error = Estimate.with_spread(
        1.0, math.hypot(data.length_relative_error, data.samples_relative_error)
    )
    hours = (seconds * data_error).scale(course.steps / units.SECONDS_PER_HOUR)
    return Phase(hours, notes, warnings)


def _step_seconds(course: Course) -> tuple[Estimate, tuple[str, ...], tuple[str, ...]]:
    """The step, or the time in which the host loads its samples, whichever is longer; their sum on
    a processor, which does both."""
    setting, host, spec = course.setting, course.host, course.spec
    step, samples = setting.step.seconds, setting.micro_batch * setting.accumulation
    if host is None:
        return step, (), ()
    loading = host.sample_seconds.scale(samples)
    slow = loading.p50 > step.p50
    device = "training" if spec.one_clock else "GPU"
    warnings = (host.too_slow(samples, step, device),) if slow else ()
    return paced(step, loading, spec), (host.note,), warnings


def paced(work: Estimate, loading: Estimate, spec: DeviceSpec) -> Estimate:
    if spec.one_clock:
        return work + loading
    return Estimate(
        max(work.p10, loading.p10), max(work.p50, loading.p50), max(work.p90, loading.p90)
    )
