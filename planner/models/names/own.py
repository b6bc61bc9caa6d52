"""The models of ``planner.models.own`` by name: rows of ``own_models.csv``."""

from __future__ import annotations

from functools import cache

from planner import tables
from planner.errors import UnknownNameError

PREFIX = "own"


@cache
def rows() -> dict[str, dict[str, str]]:
    """Name → row."""
    return {row["name"]: row for row in tables.rows("models", "own_models.csv")}


def knows(name: str) -> bool:
    """Whether a model of that name ships: a user's own module may be called ``own`` too."""
    return name in rows()


def row_of(name: str) -> dict[str, str]:
    """The row of ``own:NAME``. Raises UnknownNameError."""
    if name not in rows():
        raise UnknownNameError(f"{PREFIX}: model", name, rows())
    return rows()[name]
