"""What of it a question asks: refused where it does not go together, and said in the first
lines."""

from __future__ import annotations

from typing import Any

from planner.devices.specification import DeviceSpec
from planner.errors import FieldName
from planner.first_lines import FirstLine
from planner.models.facts import ModelFacts
from planner.plan.around.allocator import allocator_lines, allocator_of
from planner.plan.around.averaging import averaging_lines, check_averaging
from planner.plan.around.clipping import check_clipping, clipping_lines
from planner.plan.around.offloaded import check_offloading, offloading_lines
from planner.question import Question
from planner.question.optimizers import asked_row
from planner.training.recipe import Recipe


def check_around(
    question: Question, facts: ModelFacts, spec: DeviceSpec, optimizer: str, precision: str
) -> None:
    """Raises QuestionError for settings that exclude each other."""
    check_offloading(question, facts, spec, optimizer, precision)
    row = asked_row(optimizer)
    within = None
    if question.optimizer_in_backward:
        within = str(FieldName("optimizer_in_backward"))
    elif row is not None and row.in_backward:
        within = optimizer
    check_clipping(question, within)
    check_averaging(question)
    allocator_of(question)


def around_lines(question: Question, spec: DeviceSpec, recipe: Recipe) -> list[FirstLine]:
    """What is assumed, where it is asked for."""
    return [
        *clipping_lines(question),
        *offloading_lines(question, spec, recipe),
        *averaging_lines(question),
        *allocator_lines(question),
    ]


def around_values(question: Question) -> dict[str, Any]:
    """What is asked, for the document."""
    asked = {
        "max_grad_norm": question.max_grad_norm,
        "empty_cache_steps": question.empty_cache_steps,
        "allocator": question.allocator,
        "ema": question.ema,
        "ema_every": question.ema_every if question.ema else None,
    }
    return {name: value for name, value in asked.items() if value is not None}
