"""The optimizer steps, with the loading of their samples: beside them by workers, else between.

A step of a run is the clean step and what its trainer does beside it (``profiles/stacks``):
clipping the gradients, reading the loss, the host's own work.
"""

from __future__ import annotations

import math

from planner import units
from planner.devices.specification import DeviceSpec
from planner.figures import Estimate
from planner.plan.inputs.of_its_day import fused_share
from planner.plan.phases.course import Course, Phase
from planner.question.stack import Stack
from planner.step_time.clock import StepClock
from planner.step_time.trainer import Priced, TrainerWork
from planner.uncertainty.spread import overhead

#: What a trainer adds to a step.
ADDED = ("clipping", "trainer")


def training(course: Course) -> Phase:
    """All steps, with the errors of the step and of the data's size. What is told apart of it sums
    to its hours."""
    setting, host, data = course.setting, course.host, course.data
    step, own = _own_work(course)
    samples = setting.micro_batch * setting.accumulation
    data_error = Estimate.with_spread(
        1.0, math.hypot(data.length_relative_error, data.samples_relative_error)
    )
    all_steps = course.steps / units.SECONDS_PER_HOUR
    parts = {"steps": setting.step.seconds.p50, **own}
    of_which = {name: value * all_steps for name, value in parts.items()}
    if host is None:
        return Phase((step * data_error).scale(all_steps), _said(course, own), of_which=of_which)
    fed = host.fed(step, samples)
    epochs = host.first_batch(setting.micro_batch).scale(course.epochs / units.SECONDS_PER_HOUR)
    stall = fed.stall * all_steps + epochs.p50
    hours = (fed.seconds * data_error).scale(all_steps) + epochs
    device = "training" if course.spec.one_clock else "GPU"
    told = data.modality != "text" or stall > overhead("said_share").p50 * hours.p50
    slow = host.sample_seconds.p50 * samples > step.p50
    return Phase(
        hours,
        notes=((host.note,) if told else ()) + _said(course, own),
        warnings=(host.too_slow(samples, step, device),) if slow else (),
        of_which={**of_which, "loader_stall": stall, "host_copy": fed.copy * all_steps},
        said=host.said(samples, step, stall / hours.p50 if hours.p50 else 0.0),
        said_hours=stall,
    )


def _own_work(course: Course) -> tuple[Estimate, dict[str, float]]:
    """(a step with its trainer's work, seconds of each part of that work)."""
    clean, work = course.setting.step.seconds, trainer_work(course.stack, course.spec)
    if not course.setting.step.time.optimizer_seconds:
        return clean, dict.fromkeys(ADDED, 0.0)  # features of a frozen model: no update
    low, middle, high = (_added(course, each) for each in work)
    clipping = _added(course, TrainerWork(clips=middle_clips(work)))
    sure = clean.p50 or 1.0
    found = Estimate(
        clean.p10 + low * clean.p10 / sure, clean.p50 + middle, clean.p90 + high * clean.p90 / sure
    )
    return found, {"clipping": clipping, "trainer": middle - clipping}


def middle_clips(work: tuple[TrainerWork, ...]) -> bool:
    return work[0].clips


def _added(course: Course, work: TrainerWork) -> float:
    """Seconds that a trainer's work adds to a step; never less than nothing."""
    setting, step = course.setting, course.setting.step
    point = {"B": setting.micro_batch, **setting.mean}
    trace = setting.source.at(**point)
    priced = Priced(
        StepClock(course.spec, fused_share(course.stack, setting.source.facts)),
        trace,
        trace.dims(**point),
        setting.recipe.precision,
        setting.recipe.compile,
    )
    bare = step.accumulation * float(step.time.seconds) - (step.accumulation - 1) * float(
        step.time.optimizer_seconds
    )
    return max(0.0, priced.seconds(work, step.accumulation) - bare)


def trainer_work(stack: Stack, spec: DeviceSpec) -> tuple[TrainerWork, TrainerWork, TrainerWork]:
    """What the stack's trainer does beside a step: at the least, in the middle and at the most. Its
    host's seconds are those measured on the device's own host where they were."""
    nothing = Estimate.exact(0.0)
    micro, update = (
        _measured(spec, stack, name) or stack.figure(name) or nothing
        for name in ("micro_batch_seconds", "update_seconds")
    )
    clips, reads = bool(stack.number("max_grad_norm")), bool(stack.number("reads_loss"))
    low, middle, high = (
        TrainerWork(clips, reads, *seconds)
        for seconds in zip(
            (micro.p10, micro.p50, micro.p90), (update.p10, update.p50, update.p90), strict=True
        )
    )
    return low, middle, high


def _measured(spec: DeviceSpec, stack: Stack, name: str) -> Estimate | None:
    """As ``planner calibrate`` timed this trainer beside this device."""
    if spec.pricing == "datasheet" or spec.calibration is None:
        return None
    found = spec.calibration.host.get(f"{stack.trainer}.{name}")
    return None if found is None else Estimate.exact(found)


def _said(course: Course, own: dict[str, float]) -> tuple[str, ...]:
    """What the trainer adds, where it is worth a word."""
    added = sum(own.values())
    if added <= 0:
        return ()
    step = course.setting.step.seconds.p50
    clips = f", {units.format_seconds(own['clipping'])} of it clipping" if own["clipping"] else ""
    return (
        f"{course.stack.title} adds {units.format_seconds(added)} to a step of "
        f"{units.format_seconds(step)}{clips}",
    )
