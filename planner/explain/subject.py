"""Which option is explained: the one that ``planner estimate`` recommends for the question."""

from __future__ import annotations

from dataclasses import dataclass

from planner.answer.recommend import recommend
from planner.answer.understood import first_lines, other_lengths
from planner.answer.verdict import limit_lines
from planner.errors import FieldName, QuestionError
from planner.first_lines import FirstLine, ordered
from planner.plan.inputs.hardware import find_hardware
from planner.plan.inputs.problem import Problem, understand
from planner.plan.options import Option
from planner.plan.survey.candidate import Candidate
from planner.plan.survey.survey import survey
from planner.plan.survey.ways import Ways
from planner.question import TRAINING_STRATEGIES, Question
from planner.trace.source import Progress


@dataclass(frozen=True)
class Subject:
    """``searched``: the device was not asked for but found."""

    problem: Problem
    option: Option
    is_recommended: bool
    searched: bool

    @property
    def question(self) -> Question:
        return self.problem.question

    @property
    def first_lines(self) -> list[FirstLine]:
        """As in the answer to the same question."""
        told = first_lines(self.problem, self.option, [self.option.strategy])
        return ordered([*told, *other_lengths(self.option, [self.option])])


def subject(question: Question, progress: Progress | None = None) -> Subject:
    """The recommended option; where nothing keeps the limits or fits the one that comes nearest.
    Raises PlannerError, and QuestionError where nothing is trained."""
    problem = understand(question, progress)
    if not problem.trained_strategies:
        raise QuestionError(
            f"{', '.join(problem.strategies)} trains nothing: there is no step to explain",
            where=FieldName("strategy"),
            mend=f"Ask for one of {', '.join(TRAINING_STRATEGIES)}",
        )
    hardware = find_hardware(question, progress)
    ways = Ways(survey(problem, hardware, counts=(question.gpus,)))
    best = recommend(ways)
    problem.first_lines += limit_lines(ways, best[0] if best else None)
    one = best[0] if best else _nearest(ways)
    return Subject(problem, ways.option(one), best is not None, hardware.searched)


def _nearest(ways: Ways) -> Candidate:
    """Of what is not recommended: what fits before what does not, then in the order of
    strategies."""
    found = [one for name in ways.strategies if (one := ways.shown(name)) is not None]
    if not found:
        raise ways.survey.refusal(ways.strategies[0])
    return min(found, key=lambda one: not one.placement.fits)
