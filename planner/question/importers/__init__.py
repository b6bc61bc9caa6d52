"""Configuration files of other tools as questions, one file a tool. A module of this package with
an ``IMPORTER`` is found by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from planner.registry import declared

#: How much of a value that is not understood is shown.
SHOWN = 40


@dataclass(frozen=True)
class Imported:
    """What a file asks. ``values``: by the question's fields; ``keys``: the file's key that set a
    field, for messages; ``left_out``: what was not understood, as words."""

    values: dict[str, Any]
    keys: dict[str, str]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class Importer:
    """``claims(keys)``: whether a file with these top-level keys is the tool's. ``read(document,
    gpus)``: the question of a file, trained on so many devices."""

    tool: str
    claims: Callable[[frozenset[str]], bool]
    read: Callable[[Mapping[str, Any], int], Imported]


class Keys:
    """A file's keys while they are being understood: every one that is set is taken, said to change
    no cost, or listed as left out."""

    def __init__(self, document: Mapping[str, Any]):
        self._left = {key: value for key, value in document.items() if not _unset(value)}
        self._values: dict[str, Any] = {}
        self._keys: dict[str, str] = {}
        self._left_out: list[str] = []

    def take(self, key: str) -> Any:
        """The value of a key, None where it is not set; from now on it is understood."""
        return self._left.pop(key, None)

    def put(self, field: str, value: Any, key: str) -> None:
        """The question's ``field`` is what ``key`` says."""
        self._values[field], self._keys[field] = value, key

    def leave_out(self, words: str) -> None:
        self._left_out.append(words)

    def imported(self, without_cost: Iterable[str]) -> Imported:
        """What was understood. ``without_cost``: keys that change neither time, memory nor money;
        keys that are nobody's are listed."""
        harmless = frozenset(without_cost)
        others = [shown(key, value) for key, value in self._left.items() if key not in harmless]
        return Imported(self._values, self._keys, (*self._left_out, *others))


def shown(key: str, value: Any) -> str:
    """``val_set_size 0.05``: a key and what it says, shortened."""
    text = " ".join(str(value).split())
    return f"{key} {text if len(text) <= SHOWN else text[: SHOWN - 1] + '…'}"


@cache
def registry() -> tuple[Importer, ...]:
    """Every importer of this package, in the order of the files' names."""
    return tuple(declared(__name__, "IMPORTER"))


def importer_of(keys: Iterable[str]) -> Importer | None:
    """Whose file it is; None for a project file."""
    known = frozenset(keys)
    return next((importer for importer in registry() if importer.claims(known)), None)


def _unset(value: Any) -> bool:
    """A key without a value asks nothing."""
    return value is None or value == "" or value == [] or value == {}
