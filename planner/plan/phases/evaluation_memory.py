"""What an evaluation takes of a device beside what training leaves there, and what is said of
it."""

from __future__ import annotations

from planner import units
from planner.errors import FieldName
from planner.parallel.data_parallel import bucket_bytes
from planner.plan.decoding.inference import recorded_batch
from planner.plan.decoding.memory import forward_bytes, staying_bytes
from planner.plan.phases.course import Course
from planner.plan.steps.point import EvaluationMemory, used_by


def evaluation_memory(course: Course, batch: int, cache_bytes: float) -> EvaluationMemory:
    """Weights, what the optimizer holds and the gradients' buckets stay. A batch adds the results
    of the longest one with what the loss makes of them, or the keys and values of the text that is
    written before: one is given back when the other is made."""
    spec, family = course.spec, course.setting.source.facts.modality
    held = _held_bytes(course)
    has_loss = not cache_bytes or course.stack.number("loss_beside_text") != 0
    made = max(_forward_bytes(course, batch) if has_loss else 0.0, cache_bytes)
    return EvaluationMemory(
        batch=batch,
        held_bytes=held,
        made_bytes=made,
        used_bytes=used_by(spec, family, held + made),
        device_total_bytes=spec.total_memory_bytes,
    )


def _held_bytes(course: Course) -> float:
    setting = course.setting
    point = {"B": setting.micro_batch, **setting.longest}
    trace = setting.longest_trace()
    gradients = float(trace.meta.get("gradient_bytes", 0))
    key = tuple(point.items())
    held = setting.source.memo.of(
        "staying_bytes", key, lambda: staying_bytes(trace, trace.dims(**point))
    )
    return held + bucket_bytes(gradients, setting.step.parallel.dp_replicate)


def _forward_bytes(course: Course, batch: int) -> float:
    """At the longest batch."""
    setting = course.setting
    source, longest = setting.source, setting.longest
    recorded = recorded_batch(batch, setting.micro_batch)

    def made() -> float:
        trace = source.at(B=recorded, **longest)
        return forward_bytes(trace, trace.dims(B=batch, **longest))

    return source.memo.of("forward_bytes", (batch, recorded, *longest.items()), made)


# ---- what is said


def smaller_words(course: Course, memory: EvaluationMemory, usual: EvaluationMemory) -> str:
    """Where the trainer's own batch would not fit, ``usual``, and a smaller one is planned."""
    setting = course.stack.word("evaluation_batch_setting")
    by = "" if setting is None else f"set {setting} to {memory.batch}; "
    return (
        f"evaluated in batches of {memory.batch} ({by}{FieldName('evaluation_batch')} plans "
        f"others): {usual.batch} at once, as {course.stack.title} does by default, would take "
        f"{_of_device(usual)}"
    )


def too_large_words(memory: EvaluationMemory, fitting: int | None) -> str:
    """Where an evaluation does not fit. ``fitting``: the largest batch that does."""
    samples = f"{memory.batch} samples at once" if memory.batch > 1 else "one sample at a time"
    mend = "" if fitting is None else f"; {FieldName('evaluation_batch')} {fitting} fits"
    over = units.format_bytes(memory.over_bytes)
    return f"evaluating {samples} takes {_of_device(memory)}: {over} more than it has{mend}"


def _of_device(memory: EvaluationMemory) -> str:
    """``up to 12.6 GiB of the device's 11.7 GiB, 10.2 GiB of it for logits and caches``."""
    total = units.format_bytes(memory.device_total_bytes)
    made = units.format_bytes(memory.made_bytes)
    most = units.format_bytes(memory.used_bytes.p90)
    return f"up to {most} of the device's {total}, {made} of it for logits and caches"


def more_than_training_words(course: Course, memory: EvaluationMemory) -> str:
    """Where it fits and takes more than training does; nothing where it takes less, or no replay
    has told what training takes."""
    trained = course.setting.memory
    taken = memory.held_bytes + memory.made_bytes
    if trained is None or taken <= trained.allocated_bytes.p50:
        return ""
    return (
        f"evaluating {memory.batch} samples at once takes {units.format_bytes(taken)}, more than "
        f"training's {units.format_bytes(trained.allocated_bytes.p50)}: logits and caches are "
        f"{units.format_bytes(memory.made_bytes)}; lower {FieldName('evaluation_batch')}"
    )
