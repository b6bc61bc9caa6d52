"""The optimizer steps, with the loading of their samples: beside them by workers, else between
them."""

from __future__ import annotations

import math

from planner import units
from planner.figures import Estimate
from planner.plan.phases.course import Course, Phase
from planner.uncertainty.spread import overhead


def training(course: Course) -> Phase:
    """All steps, with the errors of the step and of the data's size."""
    setting, host, data = course.setting, course.host, course.data
    step, samples = setting.step.seconds, setting.micro_batch * setting.accumulation
    data_error = Estimate.with_spread(
        1.0, math.hypot(data.length_relative_error, data.samples_relative_error)
    )
    all_steps = course.steps / units.SECONDS_PER_HOUR
    if host is None:
        return Phase((step * data_error).scale(all_steps))
    fed = host.fed(step, samples)
    epochs = host.first_batch(setting.micro_batch).scale(course.epochs / units.SECONDS_PER_HOUR)
    stall = fed.stall * all_steps + epochs.p50
    hours = (fed.seconds * data_error).scale(all_steps) + epochs
    device = "training" if course.spec.one_clock else "GPU"
    told = data.modality != "text" or stall > overhead("said_share").p50 * hours.p50
    slow = host.sample_seconds.p50 * samples > step.p50
    return Phase(
        hours,
        notes=(host.note,) if told else (),
        warnings=(host.too_slow(samples, step, device),) if slow else (),
        of_which={"loader_stall": stall, "host_copy": fed.copy * all_steps},
        said=host.said(samples, step, stall / hours.p50 if hours.p50 else 0.0),
        said_hours=stall,
    )
