"""The keys of a file while they are being understood. Each ends in one list: understood, without
bearing on cost, not to be asked yet, or unknown; what is no number where its tool takes one is
refused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeGuard, cast

from planner.question.importers.table import FIELD, LEFT_OUT, NONE, Row, Table

#: How much of a value that is not understood is shown.
SHOWN = 40
UNDERSTOOD, WITHOUT_COST, CANNOT_BE_ASKED, UNKNOWN = FATES = (
    "understood",
    "without bearing",
    "cannot be asked yet",
    "not understood",
)
#: What its tool would stop at: such a file is refused.
NO_NUMBER = "no number"


@dataclass(frozen=True)
class Fate:
    """What became of one key. ``field``: the question's field that it set, if any; ``head``: the
    key that it is a part of where that is said as a whole."""

    key: str
    value: Any
    fate: str
    field: str = ""
    head: str = ""


@dataclass(frozen=True)
class Imported:
    """What a file asks. ``values``: by the question's fields; ``keys``: the file's key that set a
    field, for messages; ``fates``: every key of the file, each once; ``assumed``: field → the
    tool's default that was taken, as words; ``beside``: (tool, the settings or the name of a file
    of settings, key) that it refers to; ``concluded``: what no key says and several tell, as
    words."""

    values: dict[str, Any]
    keys: dict[str, str]
    fates: tuple[Fate, ...]
    assumed: Mapping[str, str] = field(default_factory=dict[str, str])
    beside: tuple[tuple[str, Any, str], ...] = ()
    concluded: tuple[str, ...] = ()

    def of(self, fate: str) -> tuple[Fate, ...]:
        """The keys of one list."""
        return tuple(one for one in self.fates if one.fate == fate)

    def words(self, fate: str) -> list[str]:
        """The keys of one list with their values; parts that are said as a whole once."""
        found: dict[str, Any] = {}
        for one in self.of(fate):
            if not one.head or one.head == one.key:
                found[one.key] = one.value
            else:
                found.setdefault(one.head, {})[one.key.removeprefix(one.head).lstrip(".")] = (
                    one.value
                )
        return [shown(key, value) for key, value in found.items()]

    @property
    def left_out(self) -> tuple[str, ...]:
        """Whatever the answer is not about, as words."""
        return (*self.words(CANNOT_BE_ASKED), *self.words(UNKNOWN))

    def refusing(self, fields: Iterable[str]) -> Imported:
        """Without the values of ``fields``, which a question has no word for."""
        out = set(fields)
        return replace(
            self,
            values={name: value for name, value in self.values.items() if name not in out},
            keys={name: key for name, key in self.keys.items() if name not in out},
            assumed={name: words for name, words in self.assumed.items() if name not in out},
            fates=tuple(
                replace(one, fate=CANNOT_BE_ASKED, field="") if one.field in out else one
                for one in self.fates
            ),
        )

    def over(self, other: Imported, prefix: str) -> Imported:
        """With what a file beside it says; where both set a field, this one is meant, unless it
        only has its tool's default."""
        weak = {name for name in self.assumed if name in other.values}
        mine = {name: value for name, value in self.values.items() if name not in weak}
        of_other = tuple(
            replace(one, key=f"{prefix}{one.key}", head=one.head and f"{prefix}{one.head}")
            for one in other.fates
        )
        return Imported(
            other.values | mine,
            {name: f"{prefix}{key}" for name, key in other.keys.items()}
            | {name: self.keys[name] for name in mine},
            (*self.fates, *of_other),
            {**other.assumed, **{n: w for n, w in self.assumed.items() if n not in weak}},
            self.beside,
            (*self.concluded, *other.concluded),
        )


class Keys:
    """``document``: a file's settings. ``table``: what its keys mean, where that is written in
    rows; without one every key is the caller's to take."""

    def __init__(self, document: Mapping[str, Any], table: Table | None = None):
        self._document = document
        self._table = table or Table({})
        self._open = dict(_flat(document))
        self._fates: dict[str, Fate] = {}
        self._values: dict[str, Any] = {}
        self._keys: dict[str, str] = {}
        self._assumed: dict[str, str] = {}
        self._beside: list[tuple[str, Any, str]] = []
        self._concluded: list[str] = []

    def take(self, key: str) -> Any:
        """The value of a key, or what its tool takes without it; None where neither is known. From
        now on it is understood."""
        for path in self._under(key):
            self._end(path, UNDERSTOOD)
        value = _at(self._document, key)
        return self._table.default(key) if unset(value) else value

    def is_usual(self, key: str) -> bool:
        """Whether a key says what its tool takes without it."""
        return _at(self._document, key) in (None, self._table.default(key))

    def put(self, field: str, value: Any, key: str) -> None:
        """The question's ``field`` is what ``key`` says, or what its tool takes without it."""
        self._values[field], self._keys[field] = value, key
        said = _at(self._document, key)
        if unset(said):
            default = self._table.default(key)
            self._assumed[field] = shown(key, "not set" if default is None else default)
            return
        self._assumed.pop(field, None)
        for path in self._under(key):
            self._end(path, UNDERSTOOD, field)

    def grant(self, field: str, words: str) -> None:
        """What the tool does of itself, and the question's default stands for."""
        self._assumed[field] = words

    def conclude(self, field: str, value: Any, key: str, words: str) -> None:
        """The question's ``field`` follows from keys of which ``key`` is the first, and is told."""
        self._values[field], self._keys[field] = value, key
        self._concluded.append(words)

    def no_number(self, key: str) -> None:
        """A key that its tool reads a number from, and has none."""
        for path in self._under(key):
            self._fates[path] = Fate(path, self._open[path], NO_NUMBER)

    def runs_as(self, stack: str) -> None:
        """The software of the run, by the question's name, where the keys together tell it."""
        self._values["stack"], self._keys["stack"] = stack, "stack"

    def leave_out(self, key: str) -> None:
        """A key whose value cannot be asked yet; nothing where it is not set."""
        for path in self._under(key):
            self._end(path, CANNOT_BE_ASKED, head=key)

    def leave_out_rest(self, key: str) -> None:
        """What of a part nobody took."""
        for path in self._under(key):
            if path not in self._fates:
                self._end(path, CANNOT_BE_ASKED, head=key)

    def known(self) -> frozenset[str]:
        """The file's top-level keys."""
        return frozenset(self._document)

    def fields(self) -> frozenset[str]:
        """The fields that are set so far."""
        return frozenset(self._values)

    def harmless(self, key: str) -> None:
        """A key that, as the file stands, changes no cost."""
        for path in self._under(key):
            self._end(path, WITHOUT_COST)

    def refer(self, tool: str, file_or_settings: Any, key: str) -> None:
        """What another tool's file beside this one says, or a part of this one, whose keys are
        counted there."""
        part = isinstance(file_or_settings, Mapping)
        for path in self._under(key):
            if part:
                self._open.pop(path)
                self._fates.pop(path, None)
            else:
                self._end(path, UNDERSTOOD)
        self._beside.append((tool, file_or_settings, key))

    def imported(self, without_cost: Iterable[str] = ()) -> Imported:
        """What was understood. ``without_cost``: keys that change neither time, memory nor money,
        beside those of the table; keys that are nobody's are listed."""
        harmless = frozenset(without_cost)
        for path, value in self._open.items():
            if path in self._fates:
                continue
            row = self._table.row(path)
            if unset(value) or path in harmless or (row and row.meaning == NONE):
                self._end(path, WITHOUT_COST)
            elif row is None:
                self._end(path, UNKNOWN)
            else:
                self._settle(path, value, row)
        # steps win over epochs
        settled = {*self._values, *({"epochs"} if "max_steps" in self._values else ())}
        for row in self._table.with_defaults():
            said, value = row.said(self._table.default(row.key))
            absent = unset(_at(self._document, row.key))
            if absent and row.field not in settled and said and value is not None:
                self.put(row.field, value, row.key)
        fates = tuple(self._fates[path] for path in self._open)
        return Imported(
            self._values,
            self._keys,
            fates,
            self._assumed,
            tuple(self._beside),
            tuple(self._concluded),
        )

    def _settle(self, path: str, value: Any, row: Row) -> None:
        """A key that has a row of its own, or whose row is that of the part it stands in."""
        known, meant = row.said(value)
        if row.meaning == FIELD and path == row.key and known:
            if meant is None:
                self._end(path, UNDERSTOOD)
            else:
                self.put(row.field, meant, path)
        elif row.meaning == LEFT_OUT and known and meant is None:
            self._end(path, WITHOUT_COST)
        else:
            self._end(path, CANNOT_BE_ASKED, head=row.key if path.startswith(row.key) else "")

    def _under(self, key: str) -> list[str]:
        return [
            path for path in self._open if path == key or path.startswith((f"{key}.", f"{key}["))
        ]

    def _end(self, path: str, fate: str, field: str = "", head: str = "") -> None:
        before = self._fates.get(path)
        if before is not None and (
            before.fate == CANNOT_BE_ASKED or (fate == before.fate and not field)
        ):
            return
        self._fates[path] = Fate(path, self._open[path], fate, field, head)


def shown(key: str, value: Any) -> str:
    """``val_set_size 0.05``: a key and what it says, shortened."""
    text = " ".join(str(value).split())
    return f"{key} {text if len(text) <= SHOWN else text[: SHOWN - 1] + '…'}"


def unset(value: Any) -> bool:
    """A key without a value asks nothing."""
    return value is None or value == "" or value == [] or value == {}


def whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def listed(value: Any) -> list[Any]:
    if isinstance(value, list):
        return cast("list[Any]", value)
    return [] if value is None else [value]


def _flat(document: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of everything that holds nothing further, lists of plain values whole."""
    for name, value in document.items():
        path = f"{before}{name}"
        if isinstance(value, Mapping) and value:
            yield from _flat(cast("Mapping[str, Any]", value), f"{path}.")
        elif isinstance(value, list) and any(isinstance(one, Mapping) for one in listed(value)):
            for number, one in enumerate(listed(value)):
                at = f"{path}[{number}]"
                if isinstance(one, Mapping) and one:
                    yield from _flat(cast("Mapping[str, Any]", one), f"{at}.")
                else:
                    yield at, one
        else:
            yield path, value


def _at(document: Any, key: str) -> Any:
    """What stands at ``a.b[0].c``."""
    found = document
    for part in re.split(r"\.|(?=\[\d+\])", key):
        if part.startswith("["):
            parts, number = listed(found), int(part[1:-1])
            found = parts[number] if number < len(parts) else None
        else:
            found = _get(found, part)
    return found


def _get(value: Any, name: str) -> Any:
    return cast("Mapping[str, Any]", value).get(name) if isinstance(value, Mapping) else None
