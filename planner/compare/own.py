"""Our step of a question: the option that `planner estimate` recommends, on the two clocks."""

from __future__ import annotations

from dataclasses import dataclass

from planner.calibrate.kineto.order import OwnStep
from planner.explain.clocked import Clocked, clocked
from planner.explain.subject import Subject, subject
from planner.question import Question
from planner.trace.source import Progress


@dataclass(frozen=True)
class Predicted:
    """``step``: at the mean padded batch, which the answer's seconds are of."""

    subject: Subject
    step: Clocked

    @property
    def own(self) -> OwnStep:
        recipe = self.subject.option.setting.recipe
        return OwnStep(self.step.trace, self.step.dims, recipe.precision)


def predicted(question: Question, progress: Progress | None = None) -> Predicted:
    """Raises PlannerError as ``planner explain``."""
    found = subject(question, progress)
    step = clocked(found.question, found.option.setting, found.option.rented)
    return Predicted(found, step)


def own_step(question: Question, progress: Progress | None = None) -> OwnStep:
    """Our trace of a question's step at its batch. Raises PlannerError."""
    return predicted(question, progress).own
