"""What an objective does beside its steps: completions written and scored before they are trained
on, and the reference's pass where it runs once before the first step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from planner import units
from planner.cost.token_bills import serving_default
from planner.devices.specification import DeviceSpec
from planner.errors import FieldName, QuestionError
from planner.figures import Estimate
from planner.plan.decoding.cache import kv_bytes_per_token
from planner.plan.decoding.generation import Batch, generation
from planner.plan.decoding.inference import forward_seconds
from planner.plan.decoding.memory import result_numbers
from planner.plan.decoding.served import Decoding, decoding
from planner.plan.inputs.of_its_day import fused_share
from planner.plan.inputs.rows import default
from planner.plan.objectives.asked import (
    MODEL,
    PRECOMPUTED,
    SERVER,
    VLLM,
    objective_asked,
    rollout,
)
from planner.plan.phases.course import Course, Phase
from planner.plan.phases.evaluation_memory import held_bytes
from planner.plan.steps.point import EvaluationMemory, used_by
from planner.question import Question
from planner.step_time.clock import StepClock
from planner.training.objective import Objective
from planner.uncertainty.spread import spread

#: Bytes of a number of the logits that ``generate`` works on, and how many of them a token has
#: alive: the logits in float32, what sampling makes of them, the probabilities.
LOGIT_BYTES, LOGIT_TENSORS = 4, 3
#: Of the scores that PPO keeps of every token: the list, the stack, the padded copy.
KEPT_SCORES = 3
#: Copying weights reads and writes them.
BOTH_WAYS = 2


def phases_of(course: Course) -> Mapping[str, Callable[[Course], Phase]]:
    """Phases that a run has under its objective alone, in the order in which they begin."""
    objective = objective_asked(course.question)
    if objective is None:
        return {}
    if objective.writes:
        return {"generation": _generation, "scoring": _scoring}
    precomputed = course.setting.recipe.reference == PRECOMPUTED
    return {"reference": _reference} if precomputed else {}


@dataclass(frozen=True)
class Written:
    """What a device writes for one update: ``rows`` completions of ``tokens`` to ``prompts`` of
    ``length``, in so many ``waves`` of ``at_once``."""

    course: Course
    objective: Objective
    rows: int
    at_once: int
    prompts: int
    length: float
    tokens: float

    @property
    def waves(self) -> float:
        return self.rows / self.at_once

    @property
    def times(self) -> float:
        """Rollouts of the run."""
        return self.course.steps / self.objective.updates

    @cached_property
    def clock(self) -> StepClock:
        return _clock(self.course)


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
    return Written(course, objective, rows, at_once, prompts, length, made.tokens)


def _clock(course: Course) -> StepClock:
    return StepClock(course.spec, fused_share(course.stack, course.setting.source.facts))


def _sure(course: Course, seconds: float) -> Estimate:
    spec, facts = course.spec, course.setting.source.facts
    return spread("time", spec.pricing, facts.modality, spec.key).around(seconds)


def training_share(question: Question, spec: DeviceSpec) -> DeviceSpec:
    """The device with what an engine beside the training holds of its memory all the time."""
    objective = objective_asked(question)
    if objective is None or not objective.writes or question.generation_engine != VLLM:
        return spec
    share = default("engine_memory_share")[0]
    return replace(spec, held_bytes=int(spec.total_memory_bytes * share))


# ---- generation


def _generation(course: Course) -> Phase:
    made = written(course)
    engine = course.question.generation_engine or "transformers"
    each, read, note = _by_generate(made) if engine == "transformers" else _by_server(made, engine)
    hours = _sure(course, read + each).scale(made.times / units.SECONDS_PER_HOUR)
    share = hours.p50 / (read + each)
    memory = rollout_memory(course)
    warning = () if memory is None or memory.fits else (_too_large(made, memory),)
    return Phase(
        hours,
        notes=(note,),
        warnings=warning,
        of_which={"prompts": read * share, "tokens": each * share},
        said=note,
    )


def _by_generate(made: Written) -> tuple[float, float, str]:
    """(seconds of all tokens of a rollout, of reading its prompts, what is said). Raises
    QuestionError for a model whose tokens cannot be told."""
    source = made.course.setting.source.supervised
    batch = Batch(made.at_once, 1, made.tokens, made.length + made.tokens, None)
    found = generation(source, made.clock, batch)
    if found is None:
        raise QuestionError(
            "the time of a token cannot be told for this model",
            where=source.facts.name,
            mend="Ask for another model",
        )
    note = (
        f"{made.at_once:,} completions are written at once, {made.tokens:,.0f} tokens each, "
        f"{units.format_seconds(found.token_seconds)} a token of all, by transformers' generate"
    )
    tokens = found.tokens * found.token_seconds * made.waves
    return tokens, found.reading_seconds * made.waves, note


def _by_server(made: Written, engine: str) -> tuple[float, float, str]:
    """The same by vLLM: a prompt is read once for all of its completions, weights come over at
    every update."""
    course = made.course
    parameters = _parameters(course)
    step = decoding(
        course.setting.source.facts.config,
        course.spec,
        parameters=parameters,
        prompt=made.length,
        output=made.tokens,
    )
    held = min(made.rows, _held_at_once(made, step, engine, parameters))
    tokens = made.tokens * step.seconds(held) * made.rows / held
    source = course.setting.source.supervised
    length = {"S": max(2, round(made.length)), "T": None}
    read = forward_seconds(source, made.clock, made.prompts, length, course.setting.micro_batch)
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
    each = kv_bytes_per_token(
        made.course.setting.source.facts.config or {}, serving_default("bytes_per_weight")
    )
    held = int(room // ((each or 0.0) * (made.length + made.tokens))) if each else 0
    if held < 1:
        raise QuestionError(
            f"vLLM's share of a {spec.name} does not hold the weights and one completion",
            where=FieldName("generation_engine"),
            mend=f"Ask for {SERVER} or transformers, or take a larger GPU",
        )
    return min(held, int(serving_default("most_sequences")))


def _parameters(course: Course) -> int:
    setting = course.setting
    counts = setting.source.supervised.at(B=max(2, setting.micro_batch), **_text(setting.mean)).meta
    return int(counts["total_params"])


def _text(lengths: Mapping[str, int | None]) -> dict[str, int | None]:
    """Lengths of the whole text, which a supervised step has one of."""
    return {"S": (lengths["S"] or 0) + (lengths["T"] or 0), "T": None}


# ---- scoring


def _scoring(course: Course) -> Phase:
    """Passes without gradients over all that was written, in the training's micro-batches."""
    made, setting = written(course), course.setting
    engine = course.question.generation_engine or "transformers"
    passes = made.objective.scoring
    passes += 0 if engine == "transformers" else made.objective.through_vllm
    passes += setting.recipe.reference == MODEL
    if not passes:
        return Phase(Estimate.exact(0.0))
    one = forward_seconds(
        setting.source, made.clock, setting.micro_batch, setting.mean, setting.micro_batch
    )
    own = 2 if made.objective.judges else 1  # a step of PPO runs the value model beside the policy
    seconds = passes * one / own * setting.accumulation
    return Phase(_sure(course, seconds).scale(made.times / units.SECONDS_PER_HOUR))


def _reference(course: Course) -> Phase:
    """All samples once through the model before it trains (TRL's ``precompute_ref_log_probs``)."""
    setting = course.setting
    one = forward_seconds(
        setting.source, _clock(course), setting.micro_batch, setting.mean, setting.micro_batch
    )
    at_once = setting.micro_batch * setting.step.parallel.data_parallel
    batches = math.ceil(setting.batches.samples_per_epoch / at_once)
    return Phase(_sure(course, one).scale(batches / units.SECONDS_PER_HOUR))


# ---- memory


def rollout_memory(course: Course) -> EvaluationMemory | None:
    """Of a device while the trainer itself writes; None where another engine does, whose share of
    the GPU is taken off before, or nothing is written."""
    objective = objective_asked(course.question)
    engine = course.question.generation_engine or "transformers"
    if objective is None or not objective.writes or engine != "transformers":
        return None
    return course.memo.of("rollout_memory", None, lambda: _memory(course))


def _memory(course: Course) -> EvaluationMemory:
    made, spec = written(course), course.spec
    source = course.setting.source.supervised
    batch = Batch(made.at_once, 1, made.tokens, made.length + made.tokens, None)
    found = generation(source, made.clock, batch)
    caches = 0.0 if found is None else found.cache_bytes
    width = _vocabulary(course)
    logits = made.at_once * width * LOGIT_BYTES * LOGIT_TENSORS
    if made.objective.judges:
        logits += made.rows * made.tokens * width * LOGIT_BYTES * KEPT_SCORES
    held = held_bytes(course)
    return EvaluationMemory(
        batch=made.at_once,
        held_bytes=held,
        made_bytes=caches + logits,
        used_bytes=used_by(spec, source.facts.modality, held + caches + logits),
        device_total_bytes=spec.total_memory_bytes,
    )


def _vocabulary(course: Course) -> float:
    source = course.setting.source.supervised
    trace = source.at(B=2, S=2, T=None)
    return result_numbers(trace, trace.dims(B=2, S=2, T=None)) / 4


def _too_large(made: Written, memory: EvaluationMemory) -> str:
    most, total = memory.used_bytes.p90, memory.device_total_bytes
    return (
        f"writing {made.at_once:,} completions at once takes up to {units.format_bytes(most)} of "
        f"the device's {units.format_bytes(total)}: lower {FieldName('global_batch')} or "
        f"{FieldName('completion_tokens')}, or ask for {FieldName('generation_engine')} {VLLM}"
    )
