"""The strategies by name: every module of ``training/strategies`` with a ``STRATEGY``."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from planner.errors import UnknownNameError
from planner.training.recipe import Recipe
from planner.training.strategy import Strategy


@cache
def registry() -> dict[str, Strategy]:
    """name → strategy, in the order of the comparison table."""
    import planner.training.strategies as package

    found = [
        getattr(importlib.import_module(f"planner.training.strategies.{m.name}"), "STRATEGY", None)
        for m in pkgutil.iter_modules(package.__path__)
    ]
    return {s.name: s for s in sorted(filter(None, found), key=lambda s: s.order)}


def strategy_of(recipe: Recipe) -> Strategy:
    """The strategy that a recipe names. Raises UnknownNameError."""
    known = registry()
    if recipe.strategy not in known:
        raise UnknownNameError("strategy", recipe.strategy, known)
    return known[recipe.strategy]
