"""A seeded sample of many cases, or all of them: ``PLANNER_EVERY_CASE=1 make test-slow`` takes
hours."""

import os
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def drawn(cases: Sequence[T], number: int, seed: int = 15) -> list[T]:
    """``number`` of the cases in their order, the same at every run; all where every case is
    asked."""
    if os.environ.get("PLANNER_EVERY_CASE") or number >= len(cases):
        return list(cases)
    chosen = set(random.Random(seed).sample(range(len(cases)), number))
    return [case for place, case in enumerate(cases) if place in chosen]
