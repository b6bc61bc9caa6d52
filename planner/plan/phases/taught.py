"""What learning from a teacher does beside its steps: answers that the student or the teacher
writes in the place of the data's own, in every step or once before the first."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from planner import units
from planner.errors import FieldName
from planner.models.facts import ModelFacts
from planner.plan.inputs.rows import default
from planner.plan.objectives.asked import VLLM
from planner.plan.objectives.mixed import MixedProfile
from planner.plan.objectives.taught import answer_tokens, on_policy_share, prompt_lengths
from planner.plan.phases.course import Course, Phase
from planner.plan.phases.evaluation_memory import held_bytes
from planner.plan.phases.writing import Written, by_generate, by_server, sure, writing_memory
from planner.plan.steps.point import EvaluationMemory
from planner.trace.source import TraceSource
from planner.training.objective import BEFORE, Objective
from planner.training.recipe import Recipe

TRANSFORMERS = "transformers"


def taught_phases(objective: Objective) -> Mapping[str, Callable[[Course], Phase]]:
    """Phases of an objective that has answers written."""
    if objective.teacher == BEFORE:
        return {"generation": lambda course: _once(course, objective)}
    return {"generation": lambda course: _in_steps(course, objective)}


# ---- in every step


def _in_steps(course: Course, objective: Objective) -> Phase:
    """A micro-batch at a time, as TRL's training_step writes: the student its share of them, and
    the teacher the others where it is asked to."""
    parts: dict[str, float] = {}
    notes: list[str] = []
    seconds = 0.0
    for name, share, made in _writers(course, objective):
        each, read, note = by_generate(made)
        parts[name] = share * (each + read)
        seconds += share * (each + read)
        notes.append(f"{name}, in {share:.0%} of the batches: {note}")
    if not seconds:
        return Phase(sure(course, 0.0))
    hours = sure(course, seconds).scale(course.steps / units.SECONDS_PER_HOUR)
    memory = taught_memory(course, objective)
    warning = () if memory is None or memory.fits else (_too_large(memory),)
    return Phase(
        hours,
        notes=tuple(notes),
        warnings=warning,
        of_which={name: hours.p50 * part / seconds for name, part in parts.items()},
        said="; ".join(notes),
    )


def _writers(course: Course, objective: Objective) -> list[tuple[str, float, Written]]:
    """(who writes, of which share of the batches, what it writes for one update)."""
    data, question, setting = course.data, course.question, course.setting
    if not isinstance(data, MixedProfile):
        return []
    plan = data.prompt_batches(
        setting.micro_batch,
        padding=course.choices.padding,
        max_length=course.choices.max_length,
    )
    rows = setting.micro_batch * setting.accumulation
    made = Written(
        course,
        objective,
        setting.source.supervised,
        rows=rows,
        at_once=setting.micro_batch,
        prompts=rows,
        length=plan.mean_padded_length or 1.0,
        tokens=data.written_tokens,
        cached=setting.recipe.gradient_checkpointing == "none",
    )
    share = on_policy_share(question)
    found = [("the student", share, made)] if share else []
    if question.teacher_writes and share < 1:
        found.append(("the teacher", 1 - share, replace(made, writer=_teacher(course))))
    return found


# ---- once before the first step


def _once(course: Course, objective: Objective) -> Phase:
    """All answers by the teacher, each device its part of them."""
    made, engine = _answers(course, objective), _engine(course)
    each, read, note = by_generate(made) if engine == TRANSFORMERS else by_server(made, BEFORE)
    hours = sure(course, read + each).scale(1 / units.SECONDS_PER_HOUR)
    share = hours.p50 / (read + each)
    memory = taught_memory(course, objective)
    warning = () if memory is None or memory.fits else (_too_large(memory),)
    said = f"the teacher {made.writer.facts.name} writes once: {note}"
    return Phase(
        hours,
        notes=(said,),
        warnings=warning,
        of_which={"prompts": read * share, "tokens": each * share},
        said=said,
    )


def _engine(course: Course) -> str:
    """vLLM where nothing is asked: all prompts are there before anything is written."""
    return course.question.generation_engine or VLLM


def _answers(course: Course, objective: Objective) -> Written:
    data = course.data
    assert data.lengths is not None
    rows = math.ceil(data.samples / course.setting.step.parallel.devices)
    return Written(
        course,
        objective,
        _teacher(course),
        rows=rows,
        at_once=min(rows, int(default("rollout_batch")[0])),
        prompts=rows,
        length=_mean_prompt(course),
        tokens=answer_tokens(course.question, objective, data),
    )


def _mean_prompt(course: Course) -> float:
    data, tokens = course.data, course.question.completion_tokens
    assert data.lengths is not None
    if tokens is not None:  # the lengths are of prompts with such answers
        return max(1.0, float(data.lengths.mean()) - tokens)
    return float(prompt_lengths(data).mean())


def _teacher(course: Course) -> TraceSource:
    """The teacher alone, in the number format of the student's weights."""
    facts, own = course.teacher, course.setting.recipe
    assert facts is not None
    return course.setting.source.memo.of(
        "teacher writes", facts.fingerprint, lambda: _source(facts, own, course)
    )


def _source(facts: ModelFacts, own: Recipe, course: Course) -> TraceSource:
    recipe = Recipe(
        "fine_tune", own.task, own.precision, "adamw", attention=own.attention, compile=False
    )
    source = course.setting.source
    return TraceSource(facts, recipe, progress=source.progress, record=source.record)


# ---- memory


def taught_memory(course: Course, objective: Objective) -> EvaluationMemory | None:
    """Of a device while answers are written by the trainer's own ``generate``: beside all that
    trains, or of the teacher alone before; None where vLLM takes what there is."""
    if objective.teacher != BEFORE:
        found = [
            writing_memory(made, held_bytes(course)) for *_, made in _writers(course, objective)
        ]
        return max(found, key=lambda one: one.used_bytes.p90, default=None)
    if _engine(course) != TRANSFORMERS:
        return None
    made = _answers(course, objective)
    trace = made.writer.at(B=2, S=64, T=None)
    weights = float(trace.meta["total_params"]) * _weight_bytes(course.setting.recipe)
    return writing_memory(made, weights)


def _weight_bytes(recipe: Recipe) -> float:
    return 2.0 if recipe.precision in ("bf16", "fp16") else 4.0


def _too_large(memory: EvaluationMemory) -> str:
    most, total = memory.used_bytes.p90, memory.device_total_bytes
    return (
        f"writing {memory.batch:,} answers at once takes up to {units.format_bytes(most)} of the "
        f"device's {units.format_bytes(total)}: lower {FieldName('micro_batch')} or "
        f"{FieldName('completion_tokens')}"
    )
