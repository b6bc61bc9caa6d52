"""The models of ``planner.models.own`` by name: rows of ``own_models.csv``."""

from __future__ import annotations

from functools import cache

from planner import tables
from planner.errors import UnknownNameError
from planner.first_lines import FirstLine
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


def kin_for(name: str, task: str) -> str | None:
    """The model of the same architecture that learns ``task``: itself, or the other one of its
    ``kin``; None where there is none. Raises UnknownNameError."""
    row = row_of(name)
    if row["task"] == task:
        return name
    alike = (other for other, its in rows().items() if row["kin"] and its["kin"] == row["kin"])
    return next((other for other in alike if rows()[other]["task"] == task), None)


def line_of(name: str, of_data: str | None = None) -> FirstLine:
    """What is said of ``own:NAME`` first. ``of_data``: the sizes that the data has; the row's where
    no data tells them."""
    row = row_of(name)
    of_data = row["assumed_of_data"] if of_data is None else of_data
    return FirstLine("model", f"{name}: {row['assumed']}" + (f"; {of_data}" if of_data else ""))


def row_of(name: str) -> dict[str, str]:
    """The row of ``own:NAME``. Raises UnknownNameError."""
    if name not in rows():
        raise UnknownNameError(f"{PREFIX}: model", name, rows())
    return rows()[name]
