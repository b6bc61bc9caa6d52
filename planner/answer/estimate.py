"""The whole way from a question to the JSON document. Everything that the command line and the
reports show comes from here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.answer.assemble import document
from planner.answer.fixes.advice import Advice
from planner.answer.recommend import Reason, among, recommend
from planner.answer.verdict import limit_lines
from planner.errors import PlannerError, QuestionError
from planner.first_lines import FirstLine
from planner.models.quantization.words import StoredWeightsError
from planner.moment import one_moment
from planner.plan.inputs.hardware import Hardware, find_hardware
from planner.plan.inputs.problem import Problem, understand
from planner.plan.options import Option
from planner.plan.survey.candidate import Candidate
from planner.plan.survey.survey import survey
from planner.plan.survey.ways import Ways
from planner.question import Question
from planner.trace.source import Progress, shipped_models

if TYPE_CHECKING:
    from planner.plan.by_token.paid_option import PaidOption


@one_moment()
def estimate(
    question: Question | str,
    data: str | Path | None = None,
    *,
    progress: Progress | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """Answer a question: a ``Question``, or a model's name with data or ``samples=`` and any field
    of ``Question``.

    Returns the JSON document (schema: ``profiles/schema/answer.schema.json``); sizes in bytes,
    times in seconds unless the key says otherwise. ``progress(what, done, total)`` is called while
    something takes long. Raises PlannerError with one line that says how to mend the question.

    >>> estimate("gpt2", samples=1000, tokens_per_sample=200, gpu="a100-sxm-80")   # doctest: +SKIP
    """
    if isinstance(question, str):
        question = _question(question, data, fields)
    return answered(understand(question, progress))


@dataclass(frozen=True)
class Answered:
    """An answer with all that it was made of. ``options`` are those of ``shown``, priced in full;
    ``chosen``: (the recommended option, why), None where nothing is recommended."""

    problem: Problem
    ways: Ways
    shown: list[Candidate]
    options: list[Option]
    paid: list[PaidOption]
    chosen: tuple[Option | PaidOption, str] | None
    document: dict[str, Any]


def answered(problem: Problem) -> dict[str, Any]:
    """As ``estimate``, of a question that is understood."""
    return answered_whole(problem).document


@one_moment()
def answered_whole(problem: Problem) -> Answered:
    """As ``answered``, for a report that goes on from the answer."""
    question, progress = problem.question, problem.progress
    paid = _paid(problem)
    hardware = (
        find_hardware(question, progress)
        if problem.trained_strategies
        else Hardware([], searched=True)
    )
    ways = Ways(survey(problem, hardware, counts=(question.gpus,)))
    if hardware.specs and problem.facts.name not in shipped_models():
        _record_ahead(ways)
    shown = _shown(ways)
    options = [ways.option(one) for one in shown]
    if not options and not paid:
        raise QuestionError(
            "no strategy can be planned: " + "; ".join(problem.warnings[-3:]),
            where=problem.facts.name,
        )
    best = recommend(ways)
    chosen = _recommended(ways, best, shown, options) if options else _cheapest_paid(question, paid)
    advised = Advice(problem, searched=hardware.searched)
    problem.first_lines += limit_lines(ways, best[0] if best else None, advised)
    advice = {id(option): advised.of(option) for option in options}
    reason = best[1].text if best else None
    made = document(problem, hardware, options, advice, chosen, paid, reason)
    return Answered(problem, ways, shown, options, paid, chosen, made)


def _record_ahead(ways: Ways) -> None:
    from planner.plan.survey.ahead import record_ahead  # answers from traces do without it

    record_ahead(ways.survey)


def _shown(ways: Ways) -> list[Candidate]:
    """Of each strategy and variant the way that ``Ways.shown`` finds. When all strategies are asked
    for, one that this model cannot do becomes a warning, not a failure."""
    found: list[Candidate] = []
    refused: dict[str, list[str]] = {}
    for strategy in ways.strategies:
        names = ways.survey.variants(strategy)
        shown = {name: ways.shown(strategy, variant=name) for name in names}
        found += [one for one in shown.values() if one is not None]
        if not any(shown.values()):
            error = ways.survey.refusal(strategy)
            if ways.question.strategy is not None and not _leaves_others(ways, error):
                raise error
            refused.setdefault(str(error), []).append(strategy)
    for error, names in refused.items():
        _leave_out(ways, names, error)
    return found


def _leaves_others(ways: Ways, error: PlannerError) -> bool:
    """Of several strategies, one that a quantised checkpoint cannot do leaves the others."""
    return len(ways.strategies) > 1 and isinstance(error, StoredWeightsError)


def _leave_out(ways: Ways, names: list[str], error: str) -> None:
    """A warning; where the strategies were asked for by name, in the first lines."""
    text = f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} left out: {error}"
    ways.problem.warn(text)
    if ways.question.strategy is not None:
        ways.problem.first_lines.append(FirstLine("model", text, warning=True))


def _recommended(
    ways: Ways,
    found: tuple[Candidate, Reason] | None,
    shown: list[Candidate],
    options: list[Option],
) -> tuple[Option, str] | None:
    if found is None:
        return None
    best, reason = found
    able = [option for one, option in zip(shown, options) if option.fits and ways.keeps(one)]
    chosen = options[next(place for place, one in enumerate(shown) if one is best)]
    return chosen, f"{reason}; {among(chosen, able)}"


def _paid(problem: Problem) -> list[PaidOption]:
    """The ways that are paid by the token; their prices are read only where one was asked for, or
    refused."""
    if not (problem.paid_strategies or problem.question.data_must_stay):
        return []
    from planner.plan.by_token.paid_options import paid_options

    return paid_options(problem)


def _cheapest_paid(question: Question, paid: list[PaidOption]) -> tuple[PaidOption, str] | None:
    from planner.plan.by_token.paid_options import cheapest_paid

    return cheapest_paid(question, paid)


def _question(model: str, data: str | Path | None, fields: dict[str, Any]) -> Question:
    """Raises QuestionError naming the field that is wrong."""
    return Question(model=model, data=str(data) if data is not None else None, **fields)
