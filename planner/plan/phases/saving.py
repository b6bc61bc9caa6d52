"""Checkpoints are written while the devices wait: weights, and what the optimizer holds."""

from __future__ import annotations

import math

from planner import units
from planner.devices.specification import DeviceSpec
from planner.figures import Estimate
from planner.parallel.network import network_of
from planner.parallel.plan import ParallelPlan
from planner.plan.inputs.practice import Practice
from planner.plan.phases.course import Course, Phase
from planner.question import Question
from planner.question.stack import Stack
from planner.uncertainty.spread import overhead

#: What a calibration measured of writing a file.
MEASURED = "write_bytes_per_s"


def saving(course: Course) -> Phase:
    """At the asked cadence, else a recipe's or the trainer's own, the last step among them; and
    the weights alone once more at the end."""
    asked = course.question.saves_per_epoch
    saves = saves_of(
        course.question,
        course.choices.practice,
        course.stack,
        steps=course.steps,
        epochs=course.epochs,
    )
    if not saves:
        return Phase(Estimate.exact(0.0))
    keeps = course.stack.number("saves_optimizer")
    each = course.checkpoint_bytes + (course.optimizer_bytes if keeps else 0.0)
    written = saves * each + (0.0 if asked is not None else course.checkpoint_bytes)
    note = (
        f"{saves:g} checkpoint{'' if saves == 1 else 's'} of {units.format_bytes(each)}"
        f"{', optimizer included' if keeps and course.optimizer_bytes else ''}"
    )
    writers = writers_of(course.spec, course.setting.step.parallel)
    note += f", written by {writers:,} nodes at once" if writers > 1 else ""
    seconds = Estimate.exact(written / writers) * _seconds_a_byte(course.spec)
    return Phase(seconds.scale(1 / units.SECONDS_PER_HOUR), notes=(note,))


def writers_of(spec: DeviceSpec, parallel: ParallelPlan) -> int:
    """Machines that write a checkpoint at once: all of those that share one state or the layers
    (torch's distributed checkpoints), one of those that hold copies."""
    sharing = parallel.dp_shard * parallel.tp * parallel.pp
    if sharing == 1:
        return 1
    return math.ceil(sharing / network_of(spec, parallel.devices).devices_per_node)


def saves_of(
    question: Question, practice: Practice, stack: Stack, *, steps: int, epochs: float
) -> float:
    """Checkpoints of a run, the one at its end among them."""
    asked = question.saves_per_epoch
    if asked is not None:
        # no trainer saves between steps
        return min(max(1.0, asked * epochs), steps) if asked else 0.0
    every = practice.evaluation_steps or stack.number("save_steps")
    return float(max(1, math.ceil(steps / every))) if every else 1.0


def _seconds_a_byte(spec: DeviceSpec) -> Estimate:
    calibration = spec.calibration
    measured = calibration.facts.get(MEASURED) if calibration is not None else None
    if measured:
        return Estimate.exact(1 / measured)
    rate = overhead("write_bytes_per_second")
    return Estimate(*(1 / value for value in (rate.p90, rate.p50, rate.p10)))


def saving_hours_at_least(
    question: Question, spec: DeviceSpec, checkpoint_bytes: float, epochs: float
) -> float:
    """Hours of all checkpoints, at the median and without the optimizer; one where nothing is
    asked. An epoch may have but one step, and no more saves than steps."""
    asked = question.saves_per_epoch
    saves = 1.0 if asked is None else max(1.0, min(asked, 1.0) * epochs) if asked else 0.0
    return saves * checkpoint_bytes * _seconds_a_byte(spec).p50 / units.SECONDS_PER_HOUR
