"""What an evaluation takes of a device beside what training leaves there, and what is said of
it."""

from __future__ import annotations

from dataclasses import dataclass

from planner import units
from planner.errors import FieldName
from planner.figures import Estimate
from planner.memory.allocator import Block, CachingAllocator
from planner.parallel.data_parallel import bucket_bytes
from planner.plan.decoding.cache import keys_and_values
from planner.plan.decoding.inference import recorded_batch
from planner.plan.decoding.memory import forward_bytes, result_numbers, staying_bytes
from planner.plan.phases.course import Course
from planner.plan.steps.point import EvaluationMemory, Memory, used_by

#: Bytes of a kept number: under autocast accelerate gives outputs back in float32
#: (accelerate utils/operations.py: convert_outputs_to_fp32).
KEPT_BYTES = 4


def evaluation_memory(
    course: Course, samples: int, batch: int, cache_bytes: float
) -> EvaluationMemory:
    """Of ``samples`` in all. Weights, what the optimizer holds and the gradients' buckets stay. A
    batch adds the results of the longest one with what the loss makes of them, or the keys and
    values of the text that is written before: one is given back when the other is made. What is
    kept for a metric is on top; what the allocator keeps of its growing is given back where the
    device is full."""
    spec, family = course.spec, course.setting.source.facts.modality
    held = held_bytes(course)
    has_loss = not cache_bytes or course.stack.number("loss_beside_text") != 0
    batch_bytes = max(_forward_bytes(course, batch) if has_loss else 0.0, cache_bytes)
    kept = _kept(course, samples, batch)
    made = batch_bytes + sum(kept.live_bytes)
    used = used_by(spec, family, held + made)
    if kept.each:
        grown = used_by(spec, family, held + kept.reserved_bytes(batch_bytes))
        most = max(used.p90, float(spec.total_memory_bytes))
        used = Estimate(
            *(
                min(most, max(getattr(used, side), getattr(grown, side)))
                for side in ("p10", "p50", "p90")
            )
        )
    return EvaluationMemory(
        batch=batch,
        held_bytes=held,
        made_bytes=made,
        used_bytes=used,
        device_total_bytes=spec.total_memory_bytes,
    )


def held_bytes(course: Course) -> float:
    """What stays on a device from training: weights, the optimizer's states, the buckets."""
    setting = course.setting
    point = {"B": setting.micro_batch, **setting.longest}
    trace = setting.longest_trace()
    gradients = float(trace.meta.get("gradient_bytes", 0))
    key = tuple(point.items())
    held = setting.source.memo.of(
        "staying_bytes", key, lambda: staying_bytes(trace, trace.dims(**point))
    )
    return held + bucket_bytes(gradients, setting.step.parallel.copies)


def _forward_bytes(course: Course, batch: int) -> float:
    """At the longest batch."""
    setting = course.setting
    source, longest = setting.source.largest, setting.longest
    recorded = recorded_batch(batch, setting.micro_batch)

    def made() -> float:
        trace = source.at(B=recorded, **longest)
        return forward_bytes(trace, trace.dims(B=batch, **longest))

    return source.memo.of("forward_bytes", (batch, recorded, *longest.items()), made)


@dataclass(frozen=True)
class Kept:
    """Outputs of all samples of all devices, on each, joined with every batch to those before it
    (transformers@5.23 trainer_pt_utils.py: EvalLoopContainer, nested_concat). ``each``: bytes of a
    sample's outputs, one after another."""

    samples: int
    batch: int
    each: tuple[float, ...] = ()

    @property
    def live_bytes(self) -> tuple[float, ...]:
        """All of them, and once more those before the last batch, while it is joined to them."""
        joined = self.samples + max(0, self.samples - self.batch)
        return tuple(one * joined for one in self.each)

    def reserved_bytes(self, batch_bytes: float) -> float:
        """What the allocator keeps: what grows never fits where its smaller self was.
        ``batch_bytes`` come and go with every batch."""
        allocator = CachingAllocator()
        joined: list[Block | None] = [None] * len(self.each)
        for done in range(0, self.samples, self.batch):
            rows = min(self.batch, self.samples - done)
            passing = allocator.allocate(max(1, int(batch_bytes)))
            made = [allocator.allocate(int(one * rows)) for one in self.each]
            allocator.free(passing)
            for place, (one, own) in enumerate(zip(self.each, made, strict=True)):
                before = joined[place]
                if before is None:
                    joined[place] = own
                    continue
                joined[place] = allocator.allocate(int(one * (done + rows)))
                allocator.free(before)
                allocator.free(own)
        return float(allocator.peak_reserved_bytes)


def _kept(course: Course, samples: int, batch: int) -> Kept:
    """Logits, and of an encoder-decoder what its encoder ends with; nothing where no metric is said
    to read them."""
    if not course.question.evaluation_keeps_logits:
        return Kept(samples, batch)
    setting = course.setting
    trace = setting.source.largest.at(B=max(2, batch), **setting.longest)
    logits = result_numbers(trace, trace.dims(B=2, **setting.longest)) / 2
    config = setting.source.facts.config or {}
    found = keys_and_values(config)
    positions = found.encoder_positions if found is not None else None
    if positions is None and "T" in trace.symbols:
        positions = setting.longest["S"]
    width = float(config.get("d_model") or config.get("hidden_size") or 0)
    numbers = [logits, (positions or 0) * width]
    return Kept(samples, batch, tuple(KEPT_BYTES * one for one in numbers if one))


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


def takes_more(memory: EvaluationMemory, trained: Memory) -> bool:
    """Whether an evaluation takes more than training does."""
    return memory.held_bytes + memory.made_bytes > trained.allocated_bytes.p50


def more_than_training_words(course: Course, memory: EvaluationMemory) -> str:
    """Where it fits and takes more than training does; nothing where it takes less, or no replay
    has told what training takes."""
    trained = course.setting.memory
    if trained is None or not takes_more(memory, trained):
        return ""
    taken = memory.held_bytes + memory.made_bytes
    return (
        f"evaluating {memory.batch} samples at once takes {units.format_bytes(taken)}, more than "
        f"training's {units.format_bytes(trained.allocated_bytes.p50)}: logits and caches are "
        f"{units.format_bytes(memory.made_bytes)}; lower {FieldName('evaluation_batch')}"
    )
