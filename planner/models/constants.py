"""Facts of model families that their configs do not state: rows of
``profiles/models/constants.csv``."""

from __future__ import annotations

from functools import cache

from planner import tables
from planner.errors import ProfileError

TABLE = ("models", "constants.csv")


@cache
def _values() -> dict[tuple[str, str], float]:
    return {(row["key"], row["family"]): float(row["value"]) for row in tables.rows(*TABLE)}


def has(key: str, family: str) -> bool:
    """Whether a family (transformers' model_type) has a row of its own."""
    return (key, family) in _values()


def constant(key: str, family: str = "any") -> float:
    """The value of a row, in the row's unit. Raises ProfileError."""
    found = _values().get((key, family))
    if found is None:
        raise ProfileError(f"no {key} of {family}", where="profiles/models/constants.csv")
    return found
