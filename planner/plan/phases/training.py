"""The optimizer steps, with the loading of their samples: beside them by workers, else between.

A step of a run is the clean step and what its trainer does beside it (``profiles/stacks``):
clipping the gradients, reading the loss, the host's own work.
"""

from __future__ import annotations

import math

from planner import units
from planner.devices.specification import DeviceSpec
from planner.errors import FieldName
from planner.figures import Estimate
from planner.plan.around.clipping import clipped_at, is_clipped
from planner.plan.inputs.of_its_day import stack_kernels
from planner.plan.phases.course import Course, Phase
from planner.question.stack import Stack
from planner.step_time.clock import StepClock
from planner.step_time.trainer import Priced, TrainerWork
from planner.uncertainty.spread import overhead

#: What a trainer adds to a step.
ADDED = ("clipping", "trainer")
#: The kind of operations that copy beside the others; its seconds are those that show.
TRANSFER = "transfer"


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
        warnings=(
            *((host.too_slow(samples, step, device),) if slow else ()),
            *_late_copies(course),
        ),
        of_which={**of_which, "loader_stall": stall, "host_copy": fed.copy * all_steps},
        said=host.said(samples, step, stall / hours.p50 if hours.p50 else 0.0),
        said_hours=stall,
    )


def _own_work(course: Course) -> tuple[Estimate, dict[str, float]]:
    """(a step with its trainer's work, seconds of each part of that work)."""
    clean, stack = course.setting.step.seconds, course.stack
    within = bool(course.setting.recipe.optimizer_in_backward)
    if not course.setting.step.time.optimizer_seconds and not within:
        return clean, dict.fromkeys(ADDED, 0.0)  # features of a frozen model: no update
    micro, update = (
        _measured(course.spec, stack, name) or stack.figure(name) or Estimate.exact(0.0)
        for name in ("micro_batch_seconds", "update_seconds")
    )
    # gradients that are gone as soon as they are used have no common norm
    on_host = course.setting.recipe.updates_on_host
    clips = is_clipped(course.question) and not within and not on_host
    reads = bool(stack.number("reads_loss"))
    averages = bool(course.question.ema)
    clipping, both, averaged = _added(
        course,
        TrainerWork(clips),
        TrainerWork(clips, reads, micro.p50, update.p50),
        TrainerWork(clips, averages=averages),
    )
    trainer = _ranged(max(0.0, both - clipping), micro.scale(course.setting.accumulation) + update)
    average = max(0.0, averaged - clipping) / (course.question.ema_every or 1)
    added = clean.scale((clipping + average) / clean.p50) + trainer
    parts = {"clipping": clipping, "trainer": trainer.p50}
    parts |= {"averaging": average} if averages else {}
    emptied = _emptied(course)
    if emptied.p50:
        parts["empty_cache"] = emptied.p50
    return clean + added + emptied, parts


def _emptied(course: Course) -> Estimate:
    """Seconds a step of giving segments back and asking for them again; the grid, which replays no
    allocator, knows none."""
    every, memory = course.question.empty_cache_steps, course.setting.memory
    if every is None or memory is None:
        return Estimate.exact(0.0)
    return overhead("segment_seconds").scale(memory.peak.regrown / every)


def _ranged(seconds: float, host: Estimate) -> Estimate:
    """Seconds that follow from the host's, with its range."""
    if host.p50 <= 0:
        return Estimate.exact(seconds)
    return Estimate(seconds * (host.p10 / host.p50), seconds, seconds * (host.p90 / host.p50))


def _added(course: Course, *works: TrainerWork) -> list[float]:
    """Seconds that a trainer's work adds to a step, of each; never less than nothing."""
    setting, step = course.setting, course.setting.step
    point = {"B": setting.micro_batch, **setting.mean}
    trace = setting.source.at(**point)
    priced = Priced(
        StepClock(course.spec, stack_kernels(course.stack, setting.source.facts)),
        trace,
        trace.dims(**point),
        setting.recipe.precision,
        setting.recipe.compile,
        course.question.ema,
    )
    bare = step.accumulation * float(step.time.seconds) - (step.accumulation - 1) * float(
        step.time.optimizer_seconds
    )
    return [max(0.0, priced.seconds(work, step.accumulation) - bare) for work in works]


def _measured(spec: DeviceSpec, stack: Stack, name: str) -> Estimate | None:
    """As ``planner calibrate`` timed this trainer, or the one it runs in, beside this device."""
    if spec.pricing == "datasheet" or spec.calibration is None:
        return None
    host = spec.calibration.host
    found = next((host[key] for one in stack.line if (key := f"{one}.{name}") in host), None)
    return None if found is None else Estimate.exact(found)


def _late_copies(course: Course) -> tuple[str, ...]:
    """That offloading makes steps longer, where its copies do not hide behind the kernels."""
    step = course.setting.step
    late = float(step.time.by_kind.get(TRANSFER, 0.0)) * course.setting.accumulation
    if late <= overhead("said_share").p50 * step.seconds.p50:
        return ()
    return (
        f"{units.format_seconds(late)} of a step of {units.format_seconds(step.seconds.p50)} are "
        f"copies to and from the host's memory that nothing hides ({FieldName('offload')}); "
        f"{FieldName('gradient_checkpointing')} full leaves less to copy",
    )


def _said(course: Course, own: dict[str, float]) -> tuple[str, ...]:
    """What the trainer adds, where it is worth a word."""
    added = sum(own.values())
    if added <= 0:
        return ()
    step = course.setting.step.seconds.p50
    clips = ""
    if own["clipping"]:
        norm = clipped_at(course.question)
        clips = (
            f", {units.format_seconds(own['clipping'])} of it clipping at a norm of {norm:g} "
            f"({FieldName('max_grad_norm')})"
        )
    if own.get("averaging"):
        clips += f", {units.format_seconds(own['averaging'])} of it averaging weights"
    return (
        f"{course.stack.title} adds {units.format_seconds(added)} to a step of "
        f"{units.format_seconds(step)}{clips}",
    )
