"""Evaluations: forward passes over what is held out."""

from __future__ import annotations

import math

from planner import units
from planner.plan.inputs.practice import held_out_samples
from planner.plan.phases.course import Course, Phase
from planner.plan.phases.training import paced


def evaluation(course: Course) -> Phase:
    setting, data, host = course.setting, course.data, course.host
    samples = held_out_samples(course.question, data.samples, setting.recipe.task)
    # records that are packed to be trained are packed to be evaluated
    sequences = samples * setting.batches.samples_per_epoch / max(1, data.samples)
    batch = setting.step.forward_seconds
    if host is not None:
        batch = paced(batch, host.sample_seconds.scale(setting.micro_batch), course.spec)
    # a batch that is not full takes the host as long as a full one
    batches = math.ceil(sequences / (setting.micro_batch * setting.step.parallel.data_parallel))
    return Phase(batch.scale(course.evaluations * batches / units.SECONDS_PER_HOUR))
