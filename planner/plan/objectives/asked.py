"""What an objective makes of a question: its recipe's settings and its samples. Raises
QuestionError where they do not go together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from planner.datasets.profile import DatasetProfile
from planner.errors import FieldName, QuestionError
from planner.models.facts import ModelFacts
from planner.plan.inputs.rows import default
from planner.plan.objectives.taught import check_teacher, taught
from planner.question import Question
from planner.question.training_setting import JUDGED, PAIRS, PROMPTS, SUPERVISED, TEXTS, TUNED_BY
from planner.training.objective import TRL, Objective
from planner.training.registry import objectives

TASK = "causal_lm"
MODEL, NONE, PRECOMPUTED = "model", "none", "precomputed"
VLLM, SERVER = "vllm", "vllm_server"


def objective_asked(question: Question) -> Objective | None:
    """None for the task's own loss."""
    name = question.objective
    return None if name in (None, SUPERVISED) else objectives()[name]


@dataclass(frozen=True)
class Rollout:
    """``prompts`` are written to ``each`` time, ``tokens`` a completion."""

    each: int
    tokens: float


def rollout(question: Question, objective: Objective) -> Rollout:
    """What the question says of the completions, else as TRL does by default."""
    each = question.generations_per_prompt or int(
        default("generations_per_prompt", objective.name)[0]
    )
    tokens = question.completion_tokens or default("completion_tokens", objective.name)[0]
    return Rollout(1 if objective.judges else each, tokens)


def check_objective(question: Question, facts: ModelFacts) -> None:
    """Raises QuestionError where the model or another field does not go with the objective."""
    objective = objective_asked(question)
    if objective is None:
        return
    task = question.task or facts.task
    if task != TASK or facts.library != "transformers":
        raise QuestionError(
            f"{objective.title} tunes a language model that writes ({TASK}), {facts.name} is "
            f"trained for {task}",
            where=FieldName("objective"),
            mend="Name such a model, or leave the objective out",
        )
    _check_reference(question, objective)
    check_teacher(question, objective)
    if question.padding == "packed" and objective.is_traced and objective.library == TRL:
        raise QuestionError(
            f"samples of {objective.title} are not packed",
            where=FieldName("padding"),
            mend="Ask for longest or max",
        )
    _check_strategies(question, objective)


def _check_strategies(question: Question, objective: Objective) -> None:
    if question.strategy and not set(question.strategy) & set(TUNED_BY):
        raise QuestionError(
            f"{objective.title} is not planned with {', '.join(question.strategy)}",
            where=FieldName("strategy"),
            mend=f"Ask for {', '.join(TUNED_BY)}",
        )


def _check_reference(question: Question, objective: Objective) -> None:
    asked = question.reference
    if asked in (MODEL, PRECOMPUTED) and not objective.reference:
        raise QuestionError(
            f"{objective.title} compares with no reference",
            where=FieldName("reference"),
            mend="Leave it out",
        )
    if asked == PRECOMPUTED and not objective.in_step:
        raise QuestionError(
            f"{objective.title} writes new completions at every step: nothing can be worked out "
            "before",
            where=FieldName("reference"),
            mend=f"Ask for {MODEL} or {NONE}",
        )
    if asked == NONE and objective.judges:
        raise QuestionError(
            "PPO's rewards hold the divergence from a reference",
            where=FieldName("reference"),
            mend="Leave it out",
        )


def traced(question: Question) -> dict[str, Any]:
    """The settings of a recipe."""
    objective = objective_asked(question)
    if objective is None or not objective.is_traced:
        return {"objective": None, "reference": None}
    usual = MODEL if objective.reference and objective.usual else NONE
    reference = question.reference or usual
    return {
        "objective": objective.name,
        "reference": None if reference == NONE else reference,
    }


# ---- samples


def learnt_from(question: Question) -> str | None:
    """What the data's records are read as."""
    objective = objective_asked(question)
    if objective is None:
        return None
    return PAIRS if objective.samples == JUDGED else objective.samples


def samples_of(question: Question, data: DatasetProfile) -> DatasetProfile:
    """The data as the objective's batches are made of it. Raises QuestionError for data without
    what it learns from."""
    objective = objective_asked(question)
    if objective is None or data.lengths is None:
        return data
    if objective.samples == PROMPTS:
        return _written(question, objective, data)
    if objective.samples == TEXTS:
        return taught(question, objective, data)
    pairs = f"{data.samples:,} pairs"
    if data.source == "counts":
        if objective.samples == JUDGED:
            return data
        return replace(data, trained_as=pairs, halves=(data.lengths, data.lengths))
    if data.rejected_lengths is None:
        return _judged(objective, data)
    if objective.samples == JUDGED:
        both = np.concatenate([data.lengths, data.rejected_lengths])
        return replace(
            data,
            samples=2 * data.samples,
            sampled=2 * data.sampled,
            lengths=both,
            trained_as=f"{2 * data.samples:,} answers",
        )
    halves = (data.lengths, data.rejected_lengths)
    return replace(data, trained_as=pairs, lengths=np.maximum(*halves), halves=halves)


def _judged(objective: Objective, data: DatasetProfile) -> DatasetProfile:
    """Data without pairs: only what learns from judged texts may, where they have a label."""
    if objective.samples == JUDGED and (data.classes == 2 or "label" in data.columns):
        return data
    needs = (
        "answers that a label calls good or bad, or pairs"
        if objective.samples == JUDGED
        else ("pairs of a chosen and a rejected answer")
    )
    raise QuestionError(
        f"{objective.title} learns from {needs}, and {data.source} has none",
        where=FieldName("objective"),
        mend="Give columns prompt, chosen and rejected, or leave the objective out",
    )


def _written(question: Question, objective: Objective, data: DatasetProfile) -> DatasetProfile:
    """A sample a completion: every one is trained on ``updates`` times."""
    made = rollout(question, objective)
    times = made.each * objective.updates
    prompts = data.lengths if data.prompt_lengths is None else data.prompt_lengths
    return replace(
        data,
        samples=data.samples * times,
        sampled=data.sampled * times,
        lengths=prompts,
        target_lengths=np.array([max(2, round(made.tokens))], dtype=np.int64),
        longest_target=None,
        trained_as=f"{data.samples:,} prompts",
        prompts=data.samples,
    )
