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
from planner.plan.decoding.inference import forward_seconds
from planner.plan.inputs.evaluating import held_out_samples, writing
from planner.plan.inputs.of_its_day import stack_kernels
from planner.plan.phases.course import Course, Phase
from planner.plan.phases.evaluation_memory import (
    evaluation_memory,
    more_than_training_words,
    smaller_words,
    too_large_words,
)
from planner.plan.steps.point import EvaluationMemory
from planner.plan.steps.setting import Lengths, mean_lengths
from planner.step_time.clock import StepClock
from planner.uncertainty.spread import Spread, overhead, time_spread


@dataclass(frozen=True)
class Evaluated:
    """One evaluation on all devices: ``samples`` in ``batches``, one after another, of ``batch``
    samples a device. ``tokens`` and ``beams`` of the text that a batch writes, None where none is
    written. ``memory`` is None where nothing is evaluated; ``usual``: that of the trainer's own
    batch, where it does not fit and a smaller one is taken; ``fitting``: the largest batch that
    fits where the asked one does not."""

    samples: int
    batch: int
    batches: int
    tokens: float | None = None
    beams: int | None = None
    memory: EvaluationMemory | None = None
    usual: EvaluationMemory | None = None
    fitting: int | None = None

    @property
    def fits(self) -> bool:
        return self.memory is None or self.memory.fits


def evaluated(course: Course) -> Evaluated:
    """What an evaluation of this run is; no price. Where the question leaves its batch open, the
    trainer's own, or the largest power of two below it that fits beside what training holds."""
    return course.memo.of("evaluated", None, lambda: _found(course))


def _found(course: Course) -> Evaluated:
    asked = course.question.evaluation_batch
    usual = asked or course.stack.number("evaluation_batch") or course.setting.micro_batch
    first = _with_memory(course, _evaluated(course, int(usual)))
    if first.fits:
        return first
    found = _largest_fitting(course, first.batch)
    if asked is not None:
        return replace(first, fitting=found.batch if found.fits else None)
    return replace(found, usual=first.memory)


def _largest_fitting(course: Course, below: int) -> Evaluated:
    """Of batches that are powers of two below so many; of one sample where none fits."""
    sizes = [2**k for k in reversed(range((below - 1).bit_length()))] or [1]
    tried = (_with_memory(course, _evaluated(course, size)) for size in sizes)
    return next(one for one in tried if one.fits or one.batch == 1)


def _evaluated(course: Course, wanted: int) -> Evaluated:
    """In batches of so many samples, fewer where fewer are held out."""
    setting, question = course.setting, course.question
    samples = held_out_samples(question, course.data.samples, setting.recipe.task)
    # records that are packed to be trained are packed to be evaluated
    sequences = samples * setting.batches.samples_per_epoch / max(1, course.data.samples)
    devices = setting.step.parallel.data_parallel
    batch = min(wanted, max(1, math.ceil(sequences / devices)))
    # a batch that is not full takes the host as long as a full one
    batches = math.ceil(sequences / (batch * devices))
    if not course.choices.practice.generates:
        return Evaluated(samples, batch, batches)
    text = writing(question, setting.recipe.task)
    tokens = text.tokens or min(text.most, _target_tokens(course, batch) or text.most)
    return Evaluated(samples, batch, batches, tokens, text.beams)


def _with_memory(course: Course, made: Evaluated) -> Evaluated:
    if not course.evaluations or not made.batches:
        return made
    cache = _cache_bytes(course, made)
    return replace(made, memory=evaluation_memory(course, made.samples, made.batch, cache))


def _cache_bytes(course: Course, made: Evaluated) -> float:
    """Of the text that a batch writes; 0 where it writes none, or its work cannot be told."""
    if made.tokens is None:
        return 0.0
    written, _ = _written(course, made, _lengths(course, made.batch))
    return 0.0 if written is None else written.cache_bytes


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
    said, warning = _of_memory(course, made)
    return Phase(
        hours,
        notes,
        (warning,) if warning else (),
        of_which={"passes": hours.p50 - writing, "generation": writing} if writing else {},
        said=said,
        said_hours=math.inf,
    )


def _of_memory(course: Course, made: Evaluated) -> tuple[str, str]:
    """(what the first lines say of an evaluation's memory, what it warns of)."""
    memory = made.memory
    if memory is None:
        return "", ""
    if not memory.fits:
        return too_large_words(memory, made.fitting), ""
    if made.usual is not None:
        return smaller_words(course, memory, made.usual), ""
    return "", more_than_training_words(course, memory)


def _batch_seconds(
    course: Course, made: Evaluated
) -> tuple[Estimate, Generation | None, tuple[str, ...]]:
    """(seconds of a batch, what it writes, what has to be said)."""
    setting, spec, host = course.setting, course.spec, course.host
    lengths = _lengths(course, made.batch)
    sure = time_spread(spec, setting.source.facts.modality)
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
    kernels = stack_kernels(course.stack, course.setting.source.facts)
    return StepClock(replace(course.spec, timer=None), kernels)


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
    shared = course.setting.step.parallel.sharding
    parts = f"; priced with the whole model on each device, not {shared}" if shared else ""
    return found, (
        f"an evaluated batch of {made.batch} writes about {made.tokens:,.0f} tokens a text"
        f"{length}, each {each}, by transformers' generate with a growing cache{parts}",
    )


# ---- lengths


def _batches(course: Course, batch: int) -> BatchPlan:
    choices = course.choices
    return course.data.batches(
        batch,
        padding=choices.padding,
        max_length=choices.max_length,
        target_max_length=choices.target_max_length,
        grouped_step=batch if choices.group_by_length else None,
    )


def _lengths(course: Course, batch: int) -> Lengths:
    """S and T as an evaluated batch is padded: grouped by length where training's are, as Trainer
    does. Those of training where other lengths would be other operations."""
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
