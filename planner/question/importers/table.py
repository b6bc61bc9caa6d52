"""What the keys of a tool mean: rows of ``profiles/importers/<tool>.csv``.

A row's ``meaning``: ``field`` (it is the question's ``field``), ``code`` (a module of this package
works it out together with other keys), ``none`` (it changes neither time, memory nor money) or
``left_out`` (it does, and cannot be asked yet). ``values``: the tool's words and the question's,
``true=full false=none *=*``; a word that becomes nothing (``auto=``) asks for nothing. ``default``:
what the tool takes where the key is missing; blank where it has none, or none that is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from planner import tables
from planner.errors import ProfileError

FIELD, CODE, NONE, LEFT_OUT = MEANINGS = ("field", "code", "none", "left_out")
#: Any other word of a tool, as it stands.
ANY = "*"
INDEX = re.compile(r"\[\d+\]")


@dataclass(frozen=True)
class Row:
    """One key of a tool. ``words``: what a value becomes, by its text."""

    key: str
    meaning: str
    field: str
    words: Mapping[str, str]
    default: str

    def said(self, value: Any) -> tuple[bool, Any]:
        """(whether the value has a meaning, what it means; None where it asks for nothing)."""
        if not self.words:
            off = self.meaning == LEFT_OUT and value is False
            return True, None if off else value
        word = self.words.get(text_of(value), self.words.get(ANY))
        if word is None:
            return self.meaning == LEFT_OUT, value
        return True, value if word == ANY else None if word == "" else scalar(word)


@dataclass(frozen=True)
class Table:
    """The rows of a tool and of those that it takes its keys from, its own first."""

    rows: Mapping[str, Row]

    def row(self, path: str) -> Row | None:
        """Of a key, ``optimizer.params.lr`` or ``datasets[0].path``; else of what it is part
        of."""
        at = INDEX.sub("[]", path)
        while at:
            if row := self.rows.get(at) or self.rows.get(at.removesuffix("[]")):
                return row
            at = at[: max(at.rfind("."), at.removesuffix("[]").rfind("[]") + 1, 0)]
        return None

    def default(self, key: str) -> Any:
        """What the tool takes where the key is missing, None where that is not known."""
        row = self.rows.get(key)
        return scalar(row.default) if row and row.default else None

    def with_defaults(self) -> Iterator[Row]:
        """The rows of fields that have a default."""
        return (row for row in self.rows.values() if row.meaning == FIELD and row.default)


@cache
def table(*tools: str) -> Table:
    """The table of ``tools``, the first that knows a key wins. Raises ProfileError."""
    found: dict[str, Row] = {}
    for tool in tools:
        for row in tables.rows("importers", f"{tool}.csv"):
            found.setdefault(row["key"], _row(tool, row))
    return Table(found)


def _row(tool: str, row: Mapping[str, str]) -> Row:
    if row["meaning"] not in MEANINGS:
        raise ProfileError(f"unknown meaning {row['meaning']!r}", where=f"importers/{tool}.csv")
    pairs = (pair.partition("=") for pair in row["values"].split())
    words = {name: word for name, _, word in pairs}
    return Row(row["key"], row["meaning"], row["field"], words, row["default"])


@cache
def _names() -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple(
        (re.compile(re.escape(row["name"]).replace(r"\*", "(.+)")), row["model"])
        for row in tables.rows("importers", "models.csv")
    )


def model_called(name: str) -> str:
    """The name that models are found by, of another tool's name; itself where none is known."""
    for pattern, model in _names():
        if match := pattern.fullmatch(name):
            return model.replace(ANY, match[1]) if ANY in model else model
    return name


def text_of(value: Any) -> str:
    """A value as a table writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def scalar(text: str) -> Any:
    """A cell as the number or truth that it spells."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
