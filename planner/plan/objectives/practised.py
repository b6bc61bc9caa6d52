"""How an objective is trained where the question leaves it open: by rows of its own, as what is
published of supervised training says little of it."""

from __future__ import annotations

import math
from dataclasses import replace

from planner.datasets.profile import DatasetProfile
from planner.first_lines import FirstLine
from planner.models.facts import ModelFacts
from planner.plan.inputs.practice import Practice, most_for, practice, short_source
from planner.plan.inputs.rows import default
from planner.plan.objectives.asked import objective_asked, rollout
from planner.question import Question
from planner.training.objective import TRL, Objective


def practised(
    question: Question, facts: ModelFacts, data: DatasetProfile, strategy: str, task: str
) -> Practice:
    """Batch, epochs and evaluation; of the task's own loss as recipes are published."""
    objective = objective_asked(question)
    if objective is None or not objective.is_traced:
        return practice(question, facts, data, strategy, task)
    batch, batch_source = default("global_batch", objective.name)
    epochs, epochs_source = default("epochs", objective.name)
    size = question.global_batch or _batch(question, objective, data, batch)
    settled = {
        "global_batch": size,
        "epochs": question.epochs or (None if question.max_steps else epochs),
        "evaluation_generates": False,
        "padding": question.padding or "longest",
    }
    if objective.writes:
        settled["evaluations_per_epoch"] = 0.0
    made = practice(question.model_copy(update=settled), facts, data, strategy, task)
    said = []
    if question.global_batch is None and question.micro_batch is None:
        said.append(f"global batch {size} ({short_source(batch_source)})")
    if question.epochs is None and question.max_steps is None:
        said.append(f"{epochs:g} epoch ({short_source(epochs_source)})")
    text = f"{objective.title} by default: {'; '.join(said)}"
    return replace(
        made, lines=(FirstLine("recipe", text),) if said else (), recipe=None, generates=False
    )


def _batch(question: Question, objective: Objective, data: DatasetProfile, usual: float) -> int:
    """A micro-batch of the user's own on each device; else the row's, lowered for few samples;
    whole groups of completions."""
    if question.micro_batch is not None:
        return question.micro_batch * question.gpus
    size = max(question.gpus, min(int(usual), most_for(data.samples)))
    each = rollout(question, objective).each if objective.writes else 1
    return math.ceil(size / each) * each


def own_length(question: Question) -> int | None:
    """Tokens at which TRL cuts a text by default; None where it does not, or a length is asked."""
    objective = objective_asked(question)
    if objective is None or objective.writes or question.max_length is not None:
        return None
    if not objective.is_traced or objective.library != TRL:
        return None
    return int(default("max_length", objective.name)[0])
