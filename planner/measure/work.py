"""What a measurement runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from planner.models.facts import ModelFacts
from planner.training.recipe import Recipe


@dataclass(frozen=True)
class Work:
    """What is run: a recipe of a model at one point on one device. ``accumulation`` is the plan's,
    or less of it."""

    facts: ModelFacts
    recipe: Recipe
    strategy: str
    teacher: ModelFacts | None
    micro_batch: int
    accumulation: int
    lengths: Mapping[str, int | None]  # S and T
    longest: Mapping[str, int | None]
    max_length: int | None
    padding: str
    notes: tuple[str, ...]

    @property
    def point(self) -> dict[str, int | None]:
        return {"B": self.micro_batch, **self.lengths}
