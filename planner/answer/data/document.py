"""``planner data``: what was understood of a dataset, with or without a model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from planner.errors import QuestionError
from planner.first_lines import FirstLine, ordered
from planner.models.facts import ModelFacts
from planner.plan.inputs.counts import said_of
from planner.plan.inputs.defaults import default_length
from planner.plan.inputs.families.tabular import fitted_to_columns
from planner.plan.inputs.problem import fitted_to, scanned_for
from planner.plan.inputs.rows import default
from planner.plan.inputs.tasks import by_data
from planner.question import Question
from planner.trace.source import Progress

SCHEMA = "1.0"
#: What a question without a model is asked with: only its data is looked at.
ANY_MODEL = "any"


def describe_data(question: Question, progress: Progress | None = None) -> dict[str, Any]:
    """The document. Its model ANY_MODEL stands for none: then tokens are counted for a large
    vocabulary and nothing is cut. Raises DataError, ModelError and QuestionError."""
    from planner.answer.data.description import describe

    if question.data is None:
        raise QuestionError("no data", mend="Name a file or folder")
    facts = _facts(question)
    found = scanned_for(question, facts, progress)
    if facts is not None:
        asked, profile = facts, found.profile
        facts, _ = by_data(question, asked, profile, lambda _: profile)
        if facts is not asked:
            found = scanned_for(question, facts, progress)
        facts, profile = fitted_to_columns(question, facts, found.profile)
        found = replace(found, profile=profile)
    task = question.task or (facts.task if facts else None)
    lines = [*found.profile.first_lines]
    max_length = question.max_length
    if facts is not None:
        lines += [*facts.first_lines, *said_of(question, facts, found.profile)]
        max_length = default_length(question, facts, found.profile)
        lines += _unfit(facts, found.profile)
    document = describe(
        found,
        task,
        max_length=max_length,
        micro_batch=question.micro_batch or int(default("global_batch", task or "any")[0]),
    )
    return {
        "schema": SCHEMA,
        "model": facts.name if facts else None,
        "task": task,
        "first_lines": [line.as_dict() for line in ordered(lines)],
        **document,
    }


def _facts(question: Question) -> ModelFacts | None:
    if question.model == ANY_MODEL:
        return None
    from planner.models.resolve import resolve

    return resolve(
        question.model,
        task=question.task,
        trust_remote_code=question.trust_remote_code,
        offline=question.offline,
    )


def _unfit(facts: ModelFacts, profile: Any) -> list[FirstLine]:
    """Data that the model cannot read is shown all the same, and said to be so."""
    try:
        fitted_to(facts, profile, [])
    except QuestionError as error:
        return [FirstLine("data", error.what, warning=True)]
    return []
