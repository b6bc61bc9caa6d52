"""Evaluations: forward passes without gradients over what is held out, in batches of their own, and
text written token by token where the metric is of text."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from planner import units
from planner.datasets.batching import BatchPlan
from planner.errors import FieldName
from planner.figures import Estimate
from planner.plan.decoding.generation import Batch, Generation, generation
from planner.plan.decoding.inference import forward_seconds, recorded_batch
from planner.plan.decoding.memory import result_bytes
from planner.plan.inputs.evaluating import held_out_samples, writing
from planner.plan.inputs.of_its_day import fused_share
from planner.plan.phases.course import Course, Phase
from planner.plan.steps.setting import Lengths, mean_lengths
from planner.step_time.clock import StepClock
from planner.uncertainty.spread import Spread, overhead, spread


@dataclass(frozen=True)
class Evaluated:
    """One evaluation on all devices: ``samples`` in ``batches``, one after another, of ``batch``
    samples a device. ``tokens`` and ``beams`` of the text that a batch writes, None where none is
    written."""

    samples: int
    batch: int
    batches: int
    tokens: float | None = None
    beams: int | None = None


def evaluated(course: Course) -> Evaluated:
    """What an evaluation of this run is; no price."""
    setting, question = course.setting, course.question
    samples = held_out_samples(question, course.data.samples, setting.recipe.task)
    # records that are packed to be trained are packed to be evaluated
    sequences = samples * setting.batches.samples_per_epoch / max(1, course.data.samples)
    devices = setting.step.parallel.data_parallel
    asked = question.evaluation_batch or course.stack.number("evaluation_batch")
    batch = min(int(asked or setting.micro_batch), max(1, math.ceil(sequences / devices)))
    # a batch that is not full takes the host as long as a full one
    batches = math.ceil(sequences / (batch * devices))
    if not course.choices.practice.generates:
        return Evaluated(samples, batch, batches)
    text = writing(question, setting.recipe.task)
    tokens = text.tokens or min(text.most, _target_tokens(course, batch) or text.most)
    return Evaluated(samples, batch, batches, tokens, text.beams)


def evaluation(course: Course) -> Phase:
    """All evaluations of the run, and what the trainer evaluates before and after it."""
    made = evaluated(course)
    after = course.stack.number("evaluations_after") or 0.0
    sanity = course.stack.number("sanity_batches") or 0.0
    times = course.evaluations + (after if course.evaluations else 0.0)
    if not times or not made.batches:
        return Phase(Estimate.exact(0.0))
    passes = times * made.batches + min(sanity, made.batches)
    batch, written, notes = _batch_seconds(course, made)
    share = passes / units.SECONDS_PER_HOUR
    hours = batch.scale(share) + _best_read(course)
    writing = 0.0 if written is None else written.seconds * share
    text, is_over = _memory_warning(course, made, written)
    return Phase(
        hours,
        notes,
        (text,) if text and not is_over else (),
        of_which={"passes": hours.p50 - writing, "generation": writing} if writing else {},
        said=text if is_over else "",
        said_hours=math.inf,
    )


def _batch_seconds(
    course: Course, made: Evaluated
) -> tuple[Estimate, Generation | None, tuple[str, ...]]:
    """(seconds of a batch, what it writes, what has to be said)."""
    setting, spec, host = course.setting, course.spec, course.host
    lengths = _lengths(course, made.batch)
    sure = spread("time", spec.pricing, setting.source.facts.modality, spec.key)
    work = sure.around(
        forward_seconds(setting.source, _clock(course), made.batch, lengths, setting.micro_batch)
    )
    written, notes = _written(course, made, lengths)
    if written is not None:
        if course.stack.number("loss_beside_text") == 0:
            work = Estimate.exact(0.0)
        work += sure.around(written.reading_seconds) + _tokens_seconds(course, written, sure)
    if host is not None:
        work = host.fed(work, made.batch).seconds
    return work, written, notes


def _clock(course: Course) -> StepClock:
    """As the stack's kernels run; what ``exact`` times for real is a step of training."""
    share = fused_share(course.stack, course.setting.source.facts)
    return StepClock(replace(course.spec, timer=None), share)


def _tokens_seconds(course: Course, written: Generation, sure: Spread) -> Estimate:
    tokens = Estimate.exact(written.tokens)
    if course.question.generated_tokens is None:
        tokens = overhead("generated_tokens_ratio").scale(written.tokens)
    return sure.around(written.token_seconds) * tokens


def _written(
    course: Course, made: Evaluated, lengths: Lengths
) -> tuple[Generation | None, tuple[str, ...]]:
    """The text of a batch, None where none is written or its work cannot be told."""
    if made.tokens is None or made.beams is None:
        return None, ()
    batch = Batch(made.batch, made.beams, made.tokens, lengths.get("S"), lengths.get("T"))
    found = generation(course.setting.source, _clock(course), batch)
    if found is None:
        return None, ("evaluation writes text, whose time cannot be told for this model",)
    each = units.format_seconds(found.token_seconds)
    length = (
        ""
        if course.question.generated_tokens is not None
        else f", as long as the longest target of a batch ({FieldName('generated_tokens')})"
    )
    return found, (
        f"an evaluated batch of {made.batch} writes about {made.tokens:,.0f} tokens a text"
        f"{length}, each {each}, by transformers' generate with a growing cache",
    )


# ---- lengths


def _batches(course: Course, batch: int) -> BatchPlan:
    choices = course.choices
    return course.data.batches(
        batch,
        padding=choices.padding,
        max_length=choices.max_length,
        target_max_length=choices.target_max_length,
    )


def _lengths(course: Course, batch: int) -> Lengths:
    """S and T as an evaluated batch is padded: no sampler groups it by length. Those of training
    where other lengths would be other operations."""
    setting = course.setting
    found, trained = mean_lengths(_batches(course, batch)), setting.mean
    domain = setting.source.at(B=setting.micro_batch, **trained).domain
    fixed = {name for name, (low, high) in domain.items() if low == high}
    return {name: trained[name] if name in fixed else found[name] for name in found}


def _target_tokens(course: Course, batch: int) -> float | None:
    """Tokens of the longest target of a batch, which its texts are taken to be as long as; None
    where one length holds what a decoder reads and what it writes."""
    made = _batches(course, batch)
    if made.target_mean_padded_length is not None:
        return made.target_mean_padded_length
    is_heard = course.setting.recipe.task == "speech_recognition"
    return made.mean_padded_length if is_heard else None


# ---- what else


def _best_read(course: Course) -> Estimate:
    """The best checkpoint, read again when training has ended."""
    if not course.stack.number("loads_best"):
        return Estimate.exact(0.0)
    speed = overhead("read_bytes_per_second")
    return Estimate(
        *(course.checkpoint_bytes / rate for rate in (speed.p90, speed.p50, speed.p10))
    ).scale(1 / units.SECONDS_PER_HOUR)


def _memory_warning(
    course: Course, made: Evaluated, written: Generation | None
) -> tuple[str, bool]:
    """(what is said where an evaluated batch takes more than training does: weights, optimizer, the
    logits of the longest batch with what the loss makes of them, keys and values; whether that is
    more than the device has)."""
    setting, memory = course.setting, course.setting.memory
    if memory is None:
        return "", False
    recorded = recorded_batch(made.batch, setting.micro_batch)
    trace = setting.source.at(B=recorded, **setting.longest)
    logits = result_bytes(trace, trace.dims(B=made.batch, **setting.longest))
    cache = 0.0 if written is None else written.cache_bytes
    held = memory.breakdown["weights"] + memory.breakdown["optimizer"]
    taken = held + logits + cache
    if taken <= memory.allocated_bytes.p50:
        return "", False
    is_over = taken > memory.device_total_bytes
    over = ", which is more than the device has" if is_over else ""
    text = (
        f"evaluating {made.batch} samples at once takes {units.format_bytes(taken)}, more than "
        f"training's {units.format_bytes(memory.allocated_bytes.p50)}{over}: logits and caches are "
        f"{units.format_bytes(logits + cache)}; lower {FieldName('evaluation_batch')}"
    )
    return text, is_over
