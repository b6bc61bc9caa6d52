"""Completions as a run's models write them: how many at once, in which seconds, on how much of the
device."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from planner import units
from planner.cost.token_bills import serving_default
from planner.errors import FieldName, QuestionError
from planner.figures import Estimate
from planner.plan.decoding.cache import kv_bytes_per_token
from planner.plan.decoding.generation import Batch, generation
from planner.plan.decoding.inference import forward_seconds
from planner.plan.decoding.memory import result_numbers
from planner.plan.decoding.served import Decoding, decoding
from planner.plan.inputs.of_its_day import stack_kernels
from planner.plan.inputs.rows import default
from planner.plan.objectives.asked import SERVER, VLLM, objective_asked, rollout
from planner.plan.phases.course import Course
from planner.plan.steps.point import EvaluationMemory, used_by
from planner.step_time.clock import StepClock
from planner.trace.source import TraceSource
from planner.training.objective import BEFORE, Objective
from planner.uncertainty.spread import time_spread

#: Bytes of a number of the logits that ``generate`` works on, and how many of them a token has
#: alive: the logits in float32, what sampling makes of them, the probabilities.
LOGIT_BYTES, LOGIT_TENSORS = 4, 3
#: Of the scores that PPO keeps of every token: the list, the stack, the padded copy.
KEPT_SCORES = 3
#: Copying weights reads and writes them.
BOTH_WAYS = 2
UNCACHED = ", which keeps no keys and values: TRL writes so where blocks are checkpointed"


@dataclass(frozen=True)
class Written:
    """What a device writes for one update: ``rows`` completions of ``tokens`` to ``prompts`` of
    ``length``, in so many ``waves`` of ``at_once``, by the model of ``writer``, without its
    objective. ``cached``: whether it keeps keys and values."""

    course: Course
    objective: Objective
    writer: TraceSource
    rows: int
    at_once: int
    prompts: int
    length: float
    tokens: float
    cached: bool = True

    @property
    def waves(self) -> float:
        return self.rows / self.at_once

    @property
    def times(self) -> float:
        """Rollouts of the run."""
        return self.course.steps / self.objective.updates

    @cached_property
    def clock(self) -> StepClock:
        return clock_of(self.course)


def written(course: Course) -> Written:
    """As TRL generates: all completions of an update at once, PPO so many at a time."""
    found: Written = course.memo.of("written", None, lambda: _written(course))
    return found


def _written(course: Course) -> Written:
    objective = objective_asked(course.question)
    assert objective is not None
    setting, made = course.setting, rollout(course.question, objective)
    rows = setting.micro_batch * setting.accumulation
    at_once = rows
    if objective.judges:
        at_once = min(rows, int(default("rollout_batch")[0]))
    length = setting.batches.mean_padded_length or 1.0
    prompts = max(1, math.ceil(rows / made.each))
    writer = setting.source.supervised
    return Written(course, objective, writer, rows, at_once, prompts, length, made.tokens)


def clock_of(course: Course) -> StepClock:
    return StepClock(course.spec, stack_kernels(course.stack, course.setting.source.facts))


def sure(course: Course, seconds: float) -> Estimate:
    spec, facts = course.spec, course.setting.source.facts
    return time_spread(spec, facts.modality).around(seconds)


def by_generate(made: Written) -> tuple[float, float, str]:
    """(seconds of all tokens of a rollout, of reading its prompts, what is said). Raises
    QuestionError for a model whose tokens cannot be told."""
    source = made.writer
    batch = Batch(made.at_once, 1, made.tokens, made.length + made.tokens, None)
    found = generation(source, made.clock, batch, cached=made.cached)
    if found is None:
        raise QuestionError(
            "the time of a token cannot be told for this model",
            where=source.facts.name,
            mend="Ask for another model",
        )
    note = (
        f"{made.at_once:,} completions are written at once, {made.tokens:,.0f} tokens each, "
        f"{units.format_seconds(found.token_seconds)} a token of all, by transformers' generate"
        f"{'' if made.cached else UNCACHED}"
    )
    tokens = found.tokens * found.token_seconds * made.waves
    return tokens, found.reading_seconds * made.waves, note


def by_server(made: Written, engine: str) -> tuple[float, float, str]:
    """The same by vLLM: a prompt is read once for all of its completions, weights come over at
    every update, but those of a teacher that writes ``BEFORE`` there is a training."""
    course = made.course
    parameters = _parameters(made)
    step = decoding(
        made.writer.facts.config,
        course.spec,
        parameters=parameters,
        prompt=made.length,
        output=made.tokens,
    )
    held = min(made.rows, _held_at_once(made, step, engine, parameters))
    tokens = made.tokens * step.seconds(held) * made.rows / held
    source = made.writer
    length = {"S": max(2, round(made.length)), "T": None}
    read = forward_seconds(source, made.clock, made.prompts, length, course.setting.micro_batch)
    if engine == BEFORE:
        note = (
            f"{held:,} answers are in flight at once in vLLM before the training, "
            f"{made.tokens:,.0f} tokens each, {units.format_seconds(step.seconds(held))} a token "
            "of all"
        )
        return tokens, read, note
    copied = BOTH_WAYS * step.weight_bytes / step.bytes_per_s
    where = "beside the training on its GPU" if engine == VLLM else "on a GPU of its own"
    note = (
        f"{held:,} completions are in flight at once in vLLM {where}, {made.tokens:,.0f} tokens "
        f"each, {units.format_seconds(step.seconds(held))} a token of all; the weights are copied "
        "to it at every update"
    )
    return tokens + copied, read, note


def _held_at_once(made: Written, step: Decoding, engine: str, parameters: int) -> int:
    """Completions whose keys and values the engine's share of the memory holds. Raises
    QuestionError where it holds none."""
    spec = made.course.spec
    room = spec.total_memory_bytes * serving_default("memory_share")
    if engine == VLLM:  # training has the rest
        room = float(spec.held_bytes)
    room -= parameters * serving_default("bytes_per_weight")
    each = kv_bytes_per_token(made.writer.facts.config or {}, serving_default("bytes_per_weight"))
    held = int(room // ((each or 0.0) * (made.length + made.tokens))) if each else 0
    if held < 1:
        raise QuestionError(
            f"vLLM's share of a {spec.name} does not hold the weights and one completion",
            where=FieldName("generation_engine"),
            mend=f"Ask for {SERVER} or transformers, or take a larger GPU",
        )
    return min(held, int(serving_default("most_sequences")))


def _parameters(made: Written) -> int:
    whole = max(2, round(made.length + made.tokens))
    micro_batch = made.course.setting.micro_batch
    return int(made.writer.at(B=max(2, micro_batch), S=whole, T=None).meta["total_params"])


def writing_memory(made: Written, held: float) -> EvaluationMemory:
    """Of a device that holds ``held`` bytes beside while a wave is written."""
    spec, source = made.course.spec, made.writer
    batch = Batch(made.at_once, 1, made.tokens, made.length + made.tokens, None)
    found = generation(source, made.clock, batch, cached=made.cached)
    caches = 0.0 if found is None else found.cache_bytes
    width = _vocabulary(source)
    logits = made.at_once * width * LOGIT_BYTES * LOGIT_TENSORS
    if made.objective.judges:
        logits += made.rows * made.tokens * width * LOGIT_BYTES * KEPT_SCORES
    return EvaluationMemory(
        batch=made.at_once,
        held_bytes=held,
        made_bytes=caches + logits,
        used_bytes=used_by(spec, source.facts.modality, held + caches + logits),
        device_total_bytes=spec.total_memory_bytes,
    )


def _vocabulary(source: TraceSource) -> float:
    trace = source.at(B=2, S=2, T=None)
    return result_numbers(trace, trace.dims(B=2, S=2, T=None)) / 4
