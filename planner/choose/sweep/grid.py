"""A grid of questions as a file says it: which fields are set for all, which are swept.

Every key is a field of the question by its name. One value is set for all questions, a list is
swept: each combination of all lists is a question. ``exclude`` leaves combinations out; each entry
of ``include`` is a grid of its own, on top of what is set for all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, cast

from planner.errors import FieldName, QuestionError
from planner.question import Question
from planner.question.files.of_file import from_folder
from planner.question.files.project_file import unknown_key
from planner.question.files.reading import read as read_document

EXCLUDE, INCLUDE = "exclude", "include"
#: A grid of more combinations is taken for a mistake; several grids hold as many as are wanted.
MOST = 1_000_000

Fields = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """One product. ``fixed``: field → value; ``swept``: field → values, in the order of the file;
    ``excluded``: combinations that are left out, each as field → the values that are meant."""

    fixed: Fields
    swept: dict[str, list[Any]]
    excluded: tuple[dict[str, list[Any]], ...] = ()

    @property
    def count(self) -> int:
        """Combinations before any is left out."""
        return math.prod(len(values) for values in self.swept.values())

    def combinations(self) -> Iterator[Fields]:
        """The last list of the file moves fastest. A field whose value is null is left open."""
        for values in product(*self.swept.values()):
            one = {**self.fixed, **dict(zip(self.swept, values))}
            one = {name: value for name, value in one.items() if value is not None}
            if not any(_matches(one, pattern) for pattern in self.excluded):
                yield one

    def values(self) -> dict[str, list[Any]]:
        """Every field with all that it is set to."""
        return {name: [value] for name, value in self.fixed.items()} | self.swept


@dataclass(frozen=True)
class Grid:
    """``parts`` one after the other; ``places``: where a field is set, ``grid.yaml line 3: gpu``;
    ``fields``: all that the file names, in its order."""

    path: Path
    parts: tuple[Part, ...]
    fields: tuple[str, ...]
    places: Mapping[str, FieldName]

    @property
    def count(self) -> int:
        return sum(part.count for part in self.parts)

    def combinations(self) -> Iterator[Fields]:
        return (one for part in self.parts for one in part.combinations())


def _matches(one: Fields, pattern: Mapping[str, list[Any]]) -> bool:
    return all(one.get(name) in values for name, values in pattern.items())


def read_grid(path: Path) -> Grid:
    """The grid of a file (YAML, JSON or TOML). Raises QuestionError in one line: what is wrong,
    where, how to mend it."""
    document = read_document(path)
    keys, lines = dict(document.values), document.lines
    where = {name: f"{path} line {lines[name]}" if name in lines else str(path) for name in keys}
    excluded = _entries(keys.pop(EXCLUDE, None), EXCLUDE, where)
    included = _entries(keys.pop(INCLUDE, None), INCLUDE, where)
    for name in keys:
        _check_name(name, where[name])
    fixed, swept = _split(keys, path, where)
    patterns = tuple(_pattern(entry, path) for entry in excluded)
    parts = [Part(fixed, swept, patterns)] if swept or not included else []
    for entry in included:
        own, moved = _split(entry, path, dict.fromkeys(entry, where[INCLUDE]))
        base = {name: value for name, value in fixed.items() if name not in moved}
        parts.append(Part(base | own, moved, patterns))
        where |= {name: where.get(name, where[INCLUDE]) for name in entry}
    named = dict.fromkeys([*keys, *(name for entry in included for name in entry)])
    places = {name: FieldName(name, text=f"{where[name]}: {name}") for name in named}
    grid = Grid(path, tuple(parts), tuple(named), places)
    _check_patterns(patterns, grid, where.get(EXCLUDE, ""))
    _check_size(grid)
    return grid


def _split(keys: Fields, path: Path, where: Mapping[str, str]) -> tuple[Fields, dict[str, Any]]:
    """What is set, and what is swept; a list of one is swept as well."""
    swept: dict[str, Any] = {}
    for name, value in keys.items():
        if isinstance(value, list):
            swept[name] = [_placed(name, one, path) for one in cast("list[Any]", value)]
            if not swept[name]:
                raise QuestionError(
                    "lists nothing, so that there is nothing to ask",
                    where=f"{where[name]}: {name}",
                    mend="Give values, or leave the key out",
                )
    fixed = {n: _placed(n, v, path) for n, v in keys.items() if n not in swept and v is not None}
    return fixed, swept


def _placed(name: str, value: Any, path: Path) -> Any:
    """A path that lies beside the file, from where the command runs."""
    return from_folder({name: value}, path.parent)[name]


def _entries(value: Any, key: str, where: Mapping[str, str]) -> list[Fields]:
    """The entries of ``exclude`` or ``include``, each a mapping of fields."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise QuestionError(
            f"{key} is a list of combinations", where=where[key], mend="Begin each with a dash"
        )
    entries: list[Fields] = []
    for entry in cast("list[Any]", value):
        if not isinstance(entry, dict) or not entry:
            raise QuestionError(
                f"an entry of {key} is no combination of fields",
                where=where[key],
                mend="Write it as - {gpu: l4, strategy: fine_tune}",
            )
        for name in cast("Fields", entry):
            _check_name(str(name), f"{where[key]}: {key}")
        entries.append(cast("Fields", entry))
    return entries


def _check_name(name: str, where: str) -> None:
    if name not in Question.model_fields:
        raise unknown_key(name, [*Question.model_fields, EXCLUDE, INCLUDE], where)


def _pattern(entry: Fields, path: Path) -> dict[str, list[Any]]:
    """What an entry of ``exclude`` means: of each field one value, or any of a list."""
    listed = {n: v if isinstance(v, list) else [v] for n, v in entry.items()}
    return {name: [_placed(name, one, path) for one in values] for name, values in listed.items()}


def _check_patterns(patterns: tuple[dict[str, list[Any]], ...], grid: Grid, where: str) -> None:
    """What is left out must be there: a misspelt value would leave nothing out, in silence."""
    for pattern in patterns:
        for name, values in pattern.items():
            known = [v for part in grid.parts for v in part.values().get(name, [None])]
            for value in values:
                if value not in known:
                    raise QuestionError(
                        f"{value!r} is no value of {name} in this grid, so nothing is left out",
                        where=f"{where}: {EXCLUDE}",
                        mend=f"Write it as the grid does: {', '.join(map(str, known[:12]))}",
                    )


def _check_size(grid: Grid) -> None:
    if grid.count > MOST:
        raise QuestionError(
            f"{grid.count:,} combinations are more than {MOST:,}",
            where=str(grid.path),
            mend="Sweep fewer values, or write several grids",
        )
