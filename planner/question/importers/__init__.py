"""Configuration files of other tools as questions, one file a tool. A module of this package with
an ``IMPORTER`` is found by itself; what the keys of a tool mean stands in
``profiles/importers/``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from planner.question.importers.keys import Imported, Keys, shown
from planner.registry import declared

__all__ = ["Imported", "Importer", "Keys", "importer_of", "registry", "shown"]


@dataclass(frozen=True)
class Importer:
    """``claims(keys)``: whether a file with these top-level keys is the tool's. ``read(document,
    gpus)``: the question of a file, trained on so many devices. ``devices(document)``: on how many
    it says itself, None where it does not. ``stack``: what its trainings run as, by the question's
    name; None where a file says nothing of it. ``of_launcher``: keys that its launcher may be told
    in the file's place."""

    tool: str
    claims: Callable[[frozenset[str]], bool]
    read: Callable[[Mapping[str, Any], int], Imported]
    devices: Callable[[Mapping[str, Any]], int | None] = lambda document: None
    stack: str | None = None
    of_launcher: tuple[str, ...] = ()


@cache
def registry() -> tuple[Importer, ...]:
    """Every importer of this package, in the order of the files' names."""
    return tuple(declared(__name__, "IMPORTER"))


def importer_of(keys: Iterable[str]) -> Importer | None:
    """Whose file it is; None for a project file."""
    known = frozenset(keys)
    return next((importer for importer in registry() if importer.claims(known)), None)


def importer_named(tool: str) -> Importer:
    """The importer of a tool that another refers to."""
    return next(importer for importer in registry() if importer.tool == tool)
