"""The plan that a recipe runs: the recommended way of an answer, or the one that was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planner.answer.estimate import Answered, answered_whole
from planner.datasets.profile import DatasetProfile
from planner.errors import FieldName, QuestionError
from planner.plan.inputs.problem import Problem, understand
from planner.plan.options import Option
from planner.plan.phases.loading import feed_of
from planner.plan.phases.saving import saves_of
from planner.plan.phases.stages import Work
from planner.question import TRAINING_STRATEGIES, Question
from planner.question.stack import Stack, stack_of
from planner.trace.source import Progress
from planner.training.recipe import Recipe


@dataclass(frozen=True)
class Planned:
    """``option``: what is run; ``values``: the same as the answer's document has it. ``question``:
    as it was asked."""

    question: Question
    answered: Answered
    option: Option
    values: Mapping[str, Any]

    @property
    def problem(self) -> Problem:
        return self.answered.problem

    @property
    def recipe(self) -> Recipe:
        return self.option.setting.recipe

    @property
    def strategy(self) -> str:
        return self.option.strategy

    @property
    def data(self) -> DatasetProfile:
        return self.problem.data

    @property
    def stack(self) -> Stack:
        return stack_of(self.question.stack)

    @property
    def steps(self) -> int:
        return self.option.run.steps

    @property
    def savings(self) -> int:
        """Checkpoints of the run, the last one among them."""
        run, practice = self.option.run, self.option.choices.practice
        saves = saves_of(self.question, practice, self.stack, steps=run.steps, epochs=run.epochs)
        return round(saves)

    @property
    def loader_workers(self) -> int:
        """Processes a device that load samples, as many as it has cores at most."""
        task, batches = self.recipe.task, self.option.setting.batches
        work = Work(self.option.facts, self.strategy, task, batches)
        spec = self.option.rented.spec
        found = feed_of(self.question, self.recipe, work, self.data, spec)
        return int(found.workers) if found is not None else self.question.loader_workers or 0


def planned(question: Question, progress: Progress | None = None) -> Planned:
    """What is planned for a question. Raises the planner's errors, QuestionError where no script
    can run what is recommended."""
    if question.data is None:
        raise QuestionError(
            "a recipe trains on data, and the question has counts alone",
            where=FieldName("data"),
            mend="Name a file or folder behind the model",
        )
    answered = answered_whole(understand(question, progress))
    option = _trained(answered)
    place = next(i for i, one in enumerate(answered.options) if one is option)
    return Planned(question, answered, option, _values(answered, option, place))


def _trained(answered: Answered) -> Option:
    chosen = answered.chosen[0] if answered.chosen else None
    if isinstance(chosen, Option):
        return chosen
    trained = [option for option in answered.options if option.strategy in TRAINING_STRATEGIES]
    if chosen is not None and answered.problem.question.strategy is None:
        raise QuestionError(
            f"the plan recommends {chosen.strategy}, which trains nothing: there is no script of "
            "it",
            where=FieldName("strategy"),
            mend=f"Ask for one of {', '.join(TRAINING_STRATEGIES)}",
        )
    if len(trained) == 1:
        return trained[0]
    raise QuestionError(
        "nothing that fits can be recommended, so nothing is written"
        if trained
        else "none of the strategies trains anything: there is no script of them",
        where=FieldName("strategy"),
        mend="planner estimate says why, and what would mend it",
    )


def _values(answered: Answered, option: Option, place: int) -> Mapping[str, Any]:
    """The option in the document, which lists the trained ones in their order."""
    found = [one for one in answered.document["options"] if one.get("run") is not None]
    same = [one for one in found if one["strategy"] == option.strategy]
    return next((one for one in same if one["variant"] == option.variant), found[place])
