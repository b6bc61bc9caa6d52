"""From settled choices to a Recipe: the one way there, for questions and for measured runs."""

from __future__ import annotations

from typing import Any

from planner.errors import UnknownNameError
from planner.question.settings import LORA, SETTINGS, Setting
from planner.question.setup import TracedSettings, traced_values
from planner.training.recipe import Recipe
from planner.training.registry import registry
from planner.training.strategy import Strategy

#: Training from nothing is a full fine-tune's step.
TRACED_AS = {"scratch": "fine_tune"}


def recipe_of(settled: TracedSettings, own_image_size: int | None = None) -> Recipe:
    """What changes the step trace of a setup, or of its traced part alone. What its strategy or its
    task does not use is left out, and so is the image size that the model has by itself, so that
    equal work has an equal key. Raises UnknownNameError for a strategy that trains nothing."""
    if settled.strategy not in registry():
        raise UnknownNameError("strategy", settled.strategy, registry())
    strategy = registry()[settled.strategy]
    values = {
        name: _frozen(value)
        for name, value in traced_values(settled).items()
        if name not in SETTINGS or _uses(SETTINGS[name], strategy, settled.task)
    }
    if values.get("image_size") == own_image_size:
        values.pop("image_size", None)
    return Recipe(**values | {"strategy": TRACED_AS.get(strategy.name, strategy.name)})


def _uses(setting: Setting, strategy: Strategy, task: str) -> bool:
    """A strategy says itself whether it has adapters."""
    if setting.strategies == LORA:
        return strategy.uses_lora
    return setting.used_by(strategy.name, task)


def _frozen(value: Any) -> Any:
    """An empty list is none; a list as a tuple, which has a hash."""
    return tuple(value) or None if isinstance(value, list | tuple) else value
