"""A report's document: the answer to a question with its part ``budget``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.answer.estimate import Answered, answered_whole
from planner.answer.schema import Answer
from planner.budget.parts import (
    accuracy,
    bill_lines,
    choices,
    closing,
    decisive,
    headline,
    nearest,
    project_lines,
    spans,
    stages,
)
from planner.budget.parts.subject import Json, Subject
from planner.budget.what_if import offers, sensitivity
from planner.errors import PlannerError
from planner.plan.inputs.problem import understand
from planner.question import PAID_STRATEGIES, TRAINING_STRATEGIES, Question
from planner.trace.source import Progress

#: Of an option what two answers are compared by.
FIGURES = ("strategy", "variant", "gpu", "gpus", "provider", "fits", "run", "cost", "memory")


def budget(question: Question, progress: Progress | None = None) -> Json:
    """The document of ``planner report`` (schema: ``planner/budget/schema.py``). ``progress`` as of
    ``estimate``. Raises PlannerError as ``estimate`` does."""
    made = answered_whole(understand(question, progress))
    return _document(Subject(made.document, made, progress), question)


def budget_of_answer(document: Mapping[str, Any], progress: Progress | None = None) -> Json:
    """The report of an answer that was written earlier. What asks anew is filled where its question
    is answered alike today; else the report shows what the answer holds and ``left_out`` says
    why. Raises pydantic.ValidationError for what is no answer."""
    whole = Answer.model_validate(document).model_dump(mode="json", by_alias=True)
    question = asked_in(whole)
    made = None if question is None else _answered_alike(document, question, progress)
    subject = Subject(whole, made, progress)
    if made is None:
        why = "is not understood" if question is None else "is answered otherwise today"
        subject.lacks(f"what is asked anew: the question of this answer {why}")
    return {**document, "budget": _document(subject, question)["budget"]}


def asked_in(document: Mapping[str, Any]) -> Question | None:
    """The question of an answer: what of it differs from the defaults. None where this version does
    not take it."""
    fields = Question.model_fields
    given = {
        name: value
        for name, value in document["question"].items()
        if name in fields and value != fields[name].default
    }
    if given.get("strategy") == _planned(document):
        del given["strategy"]
    if given.get("task") == (document["model"] or {}).get("task"):  # the model's own
        given.pop("task", None)
    try:
        return Question(**given)
    except (PlannerError, TypeError):
        return None


def _planned(document: Mapping[str, Any]) -> list[str]:
    """What the strategies are where none was asked for."""
    paid = PAID_STRATEGIES if document["question"].get("requests_per_month") else ()
    return [*TRAINING_STRATEGIES, *paid]


def _answered_alike(
    document: Mapping[str, Any], question: Question, progress: Progress | None
) -> Answered | None:
    try:
        made = answered_whole(understand(question, progress))
    except PlannerError:
        return None
    alike = _figures(made.document) == _figures(document)
    return made if alike and made.document["recommended"] == document["recommended"] else None


def _figures(document: Mapping[str, Any]) -> list[list[Any]]:
    return [[option.get(key) for key in FIGURES] for option in document["options"]]


def _document(subject: Subject, question: Question | None) -> Json:
    offered = offers.offers(subject)
    part = {
        "title": headline.title(subject),
        "question": headline.question_words(subject),
        "headline": headline.headline(subject),
        "recommended": choices.recommended(subject),
        "runner_up": choices.runner_up(subject),
        "nearest": nearest.nearest(subject, offered),
        "decisive": decisive.decisive(subject),
        "lines": bill_lines.bill_lines(subject),
        "project": project_lines.project_lines(subject),
        "offers": offered,
        "stages": stages.stages(subject),
        "sensitivity": sensitivity.sensitivity(subject),
        "chances": spans.chances(subject),
        "chances_of": spans.chances_of(subject),
        "chance_over_limit": spans.chance_over_limit(subject),
        "time": spans.times(subject),
        "accuracy": accuracy.accuracy(subject),
        "enough": stages.enough(subject),
        "prices": offers.prices(offered) or offers.price_of(subject.option),
        "reproduce": closing.reproduce(question, subject.question),
        "glossary": closing.glossary(subject),
    }
    return {**subject.document, "budget": {**part, "left_out": subject.left_out}}
