"""What an objective does beside its steps: completions written and scored before they are trained
on, and the reference's pass where it runs once before the first step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from planner import units
from planner.devices.specification import DeviceSpec
from planner.errors import FieldName
from planner.figures import Estimate
from planner.plan.decoding.inference import forward_seconds
from planner.plan.inputs.rows import default
from planner.plan.objectives.asked import MODEL, PRECOMPUTED, VLLM, objective_asked
from planner.plan.phases.course import Course, Phase
from planner.plan.phases.evaluation_memory import held_bytes
from planner.plan.phases.taught import taught_memory, taught_phases
from planner.plan.phases.writing import (
    Written,
    by_generate,
    by_server,
    clock_of,
    sure,
    writing_memory,
    written,
)
from planner.plan.steps.point import EvaluationMemory
from planner.question import Question


def phases_of(course: Course) -> Mapping[str, Callable[[Course], Phase]]:
    """Phases that a run has under its objective alone, in the order in which they begin."""
    objective = objective_asked(course.question)
    if objective is None:
        return {}
    if objective.writes:
        return {"generation": _generation, "scoring": _scoring}
    if objective.completes:
        return taught_phases(objective)
    precomputed = course.setting.recipe.reference == PRECOMPUTED
    return {"reference": _reference} if precomputed else {}


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
    each, read, note = by_generate(made) if engine == "transformers" else by_server(made, engine)
    hours = sure(course, read + each).scale(made.times / units.SECONDS_PER_HOUR)
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
    return Phase(sure(course, seconds).scale(made.times / units.SECONDS_PER_HOUR))


def _reference(course: Course) -> Phase:
    """All samples once through the model before it trains (TRL's ``precompute_ref_log_probs``)."""
    setting = course.setting
    one = forward_seconds(
        setting.source, clock_of(course), setting.micro_batch, setting.mean, setting.micro_batch
    )
    at_once = setting.micro_batch * setting.step.parallel.data_parallel
    batches = math.ceil(setting.batches.samples_per_epoch / at_once)
    return Phase(sure(course, one).scale(batches / units.SECONDS_PER_HOUR))


# ---- memory


def rollout_memory(course: Course) -> EvaluationMemory | None:
    """Of a device while the trainer itself writes; None where another engine does, whose share of
    the GPU is taken off before, or nothing is written."""
    objective = objective_asked(course.question)
    engine = course.question.generation_engine or "transformers"
    if objective is not None and objective.completes and not objective.writes:
        return course.memo.of("rollout_memory", None, lambda: taught_memory(course, objective))
    if objective is None or not objective.writes or engine != "transformers":
        return None
    return course.memo.of(
        "rollout_memory", None, lambda: writing_memory(written(course), held_bytes(course))
    )


def _too_large(made: Written, memory: EvaluationMemory) -> str:
    most, total = memory.used_bytes.p90, memory.device_total_bytes
    return (
        f"writing {made.at_once:,} completions at once takes up to {units.format_bytes(most)} of "
        f"the device's {units.format_bytes(total)}: lower {FieldName('global_batch')} or "
        f"{FieldName('completion_tokens')}, or ask for {FieldName('generation_engine')} {VLLM}"
    )
