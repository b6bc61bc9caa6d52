"""The strategies by name: every module of ``training/strategies`` with a ``STRATEGY``; and the
objectives: every module of ``training/objectives`` with an ``OBJECTIVE``."""

from __future__ import annotations

from functools import cache

from planner.errors import UnknownNameError
from planner.registry import declared
from planner.training.objective import Objective
from planner.training.recipe import Recipe
from planner.training.strategy import Strategy


@cache
def registry() -> dict[str, Strategy]:
    """name → strategy, in the order of the comparison table."""
    found: list[Strategy] = declared("planner.training.strategies", "STRATEGY")
    return {strategy.name: strategy for strategy in sorted(found, key=lambda each: each.order)}


def strategy_of(recipe: Recipe) -> Strategy:
    """The strategy that a recipe names. Raises UnknownNameError."""
    known = registry()
    if recipe.strategy not in known:
        raise UnknownNameError("strategy", recipe.strategy, known)
    return known[recipe.strategy]


@cache
def objectives() -> dict[str, Objective]:
    """name → objective, in their order."""
    found: list[Objective] = declared("planner.training.objectives", "OBJECTIVE")
    return {objective.name: objective for objective in sorted(found, key=lambda each: each.order)}


def objective_of(recipe: Recipe) -> Objective | None:
    """The objective that a recipe names; None for the task's own loss. Raises UnknownNameError."""
    if recipe.objective is None:
        return None
    known = objectives()
    if recipe.objective not in known:
        raise UnknownNameError("objective", recipe.objective, known)
    return known[recipe.objective]
