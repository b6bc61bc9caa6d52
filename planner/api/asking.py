"""Questions asked from Python: a model's name, data and keyword arguments, as the command line asks
them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Unpack

from planner.errors import PlannerError, UnknownNameError, fields_spelled
from planner.question import Question
from planner.question.parsing import question_from

if TYPE_CHECKING:
    from planner.api.answer import Answer
    from planner.api.decision import Decision
    from planner.api.fields import QuestionFields
    from planner.trace.source import Progress

Path = str | os.PathLike[str]
Json = dict[str, Any]


def estimate(
    question: Question | Path,
    data: Path | None = None,
    *,
    progress: Progress | None = None,
    **fields: Unpack[QuestionFields],
) -> Answer:
    """What a training will cost, before it starts: hours, memory and dollars of every strategy.

    ``question``: a model (catalogue name, folder, hub id, ``timm:NAME``, a size such as ``7B``), a
    ``project.yaml`` or a ``Question``. ``data``: a file or folder that is read and counted, or give
    ``samples=`` and ``tokens_per_sample=``. ``fields``: any field of ``Question``, by the names of
    the flags with underscores; numbers may be written ``"20k"``. ``progress(what, done, total)`` is
    called while something takes long.

    Returns the answer's document (``planner schema answer``) as an ``Answer``, with
    ``answer.best.hours`` in hours, ``answer.best.usd`` in US dollars and ``answer.best.memory_gib``
    in GiB, each of ``p10``, ``p50`` and ``p90``; ``answer["options"]`` is as the JSON has it.
    Raises PlannerError, one line that says how to mend the question.

    >>> answer = estimate("Llama-3.2-1B", samples="20k", tokens_per_sample=300, gpu="l4",
    ...                   strategy=["lora"])
    >>> answer.best.hours.p10 < answer.best.hours.p50 < answer.best.hours.p90
    True
    """
    from planner.answer.estimate import estimate as answered
    from planner.api.answer import Answer

    wanted = asked(question, data, fields)
    return Answer(as_python_says(lambda: answered(wanted, progress=progress)))


def choose(
    question: Question | Path,
    data: Path | None = None,
    *,
    everywhere: bool = False,
    up_to: int | None = None,
    progress: Progress | None = None,
    **fields: Unpack[QuestionFields],
) -> Decision:
    """What to rent and which way to go: the cheapest that keeps the limits (``max_usd=``,
    ``max_hours=``, ``deadline=``), among strategies, GPUs, counts and providers.

    Arguments as of ``estimate``; ``everywhere``: also the strategy on every GPU at every provider;
    ``up_to``: counts of GPUs up to so many, with what more of them buy.
    Returns the document of ``planner choose --json`` as a ``Decision``. Raises PlannerError.

    >>> decision = choose("bert-base-uncased", samples="20k", tokens_per_sample=180, gpu="l4")
    >>> decision.best.usd.p50 > 0
    True
    """
    from planner.api.decision import Decision
    from planner.choose.decision import decide

    wanted = asked(question, data, fields)
    return Decision(
        as_python_says(lambda: decide(wanted, progress, everywhere=everywhere, up_to=up_to))
    )


def asked(question: Question | Path, data: Path | None, fields: Mapping[str, Any]) -> Question:
    """The question that arguments ask. Raises QuestionError, which calls fields as Python does."""
    if unknown := [name for name in fields if name not in Question.model_fields]:
        raise UnknownNameError(
            "argument", unknown[0], Question.model_fields, mend="help(planner.Question) lists them"
        )
    with fields_spelled(argument):
        if isinstance(question, Question):
            return _changed(question, data, fields)
        named = None if data is None else os.fspath(data)
        return question_from(os.fspath(question), named, fields)


def _changed(question: Question, data: Path | None, fields: Mapping[str, Any]) -> Question:
    """A question with other fields, checked anew."""
    changes = dict(fields) if data is None else {**fields, "data": os.fspath(data)}
    if not changes:
        return question
    kept = question.model_dump(exclude_unset=True, exclude={"model", "data"})
    if changes.get("data") is not None:
        kept.pop("samples", None)
    named = None if "samples" in changes else changes.get("data", question.data)
    given = {name: value for name, value in changes.items() if name != "data"}
    changed = question_from(question.model, named, {**kept, **given})
    return changed.noting(*question.notes, granted=question.granted)


def as_python_says(ask: Callable[[], Json]) -> Json:
    """What ``ask`` returns. A refusal that names flags is asked for once more and calls them as
    arguments: documents are the same whoever asks, errors are read by a programmer."""
    try:
        return ask()
    except PlannerError as error:
        if "--" not in str(error):
            raise
    with fields_spelled(argument):
        return ask()


def argument(name: str, off: bool = False) -> str:
    """How Python spells a field: ``lora_rank``; ``off``: ``compile=False``."""
    return f"{name}=False" if off else name
