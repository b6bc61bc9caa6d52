"""The models of ``planner.models.own`` by name: rows of ``own_models.csv``."""

from __future__ import annotations

from functools import cache

from planner import tables
from planner.errors import UnknownNameError
from planner.models.factory_source import has_module

PREFIX = "own"


@cache
def rows() -> dict[str, dict[str, str]]:
    """Name → row."""
    return {row["name"]: row for row in tables.rows("models", "own_models.csv")}


def means(name: str) -> bool:
    """Whether ``own:NAME`` is a model that ships, or would be: a user's module may be called
    ``own`` too, and then what does not ship is looked for there."""
    return name in rows() or not has_module(PREFIX)


def row_of(name: str) -> dict[str, str]:
    """The row of ``own:NAME``. Raises UnknownNameError."""
    if name not in rows():
        raise UnknownNameError(f"{PREFIX}: model", name, rows())
    return rows()[name]
