"""What each column of a table holds: numbers, categories, moments, or what no model of tables
reads."""

from __future__ import annotations

import datetime
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from numbers import Number
from typing import Any

from planner.datasets.constants import constant
from planner.datasets.layout.cells import names
from planner.datasets.layout.cells.values import LANGUAGE, kind_of_text, kind_of_texts
from planner.datasets.layout.cells.walk import spread, text_bytes
from planner.errors import DataError, nearest

NUMBER, CATEGORY, DATE = "number", "category", "date"
#: What no model of tables reads, in words.
IDENTIFIER, TEXT, CONSTANT, NESTED, EMPTY = (
    "identifiers",
    "texts",
    "one value alone",
    "lists or dictionaries",
    "nothing",
)
#: Cells that say that there is no value.
MISSING = frozenset(("", "na", "n/a", "nan", "null", "none"))
SHOWN_COLUMNS = 40

Records = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Cells:
    """A column. ``kind``: one of the above. ``distinct``: values in all records; ``missing``: cells
    without one; ``whole``: whether its numbers are integers; ``size``: bytes of the judged
    cells."""

    path: str
    kind: str
    distinct: int
    missing: int
    whole: bool
    size: int

    @property
    def is_read(self) -> bool:
        return self.kind in (NUMBER, CATEGORY)


def columns_of(records: Records) -> dict[str, Cells]:
    """Every column, in the order in which they come."""
    paths = dict.fromkeys(path for record in records for path in record)
    return {
        path: _column(path, [record.get(path) for record in records], is_first=index == 0)
        for index, path in enumerate(paths)
    }


def wanted(given: Sequence[str] | None, columns: Mapping[str, Cells], source: str) -> list[str]:
    """The columns that the user named. Raises DataError for one that there is not."""
    for name in given or ():
        if name not in columns:
            near = nearest(name, list(columns))
            hint = f"Did you mean {' or '.join(near)}? " if near else ""
            shown = ", ".join(list(columns)[:SHOWN_COLUMNS])
            mend = f"{hint}The columns are: {shown}"
            raise DataError(f"no column {name!r}", where=source, mend=mend)
    return list(dict.fromkeys(given or ()))


def named(columns: Iterable[str], kind: str, meaning: str) -> str | None:
    """The column that is called as people call this, by the order of the table of names."""
    by_name = {names.normal(path): path for path in reversed(list(columns))}
    return next((by_name[name] for name in names.words(kind, meaning) if name in by_name), None)


def is_missing(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in MISSING
    return value is None or isinstance(value, float) and math.isnan(value)


def _column(path: str, cells: Sequence[Any], *, is_first: bool) -> Cells:
    filled = [value for value in cells if not is_missing(value)]
    judged = [filled[i] for i in spread(len(filled), int(constant("judged_records")))]
    nested = bool(judged) and isinstance(judged[0], (list, tuple, dict))
    distinct = 0 if nested else len({str(value).strip() for value in filled})
    whole = not nested and _whole(filled)
    kind = NESTED if nested else _kind(judged, filled, distinct)
    if kind == NUMBER and whole and _identifies(path, filled, distinct, is_first=is_first):
        kind = IDENTIFIER
    missing = len(cells) - len(filled)
    return Cells(path, kind, distinct, missing, whole, sum(map(text_bytes, map(str, judged))))


def _kind(judged: Sequence[Any], filled: Sequence[Any], distinct: int) -> str:
    if not judged:
        return EMPTY
    if distinct == 1:
        return CONSTANT
    each = Counter(map(_kind_of, judged))
    kind, most = each.most_common(1)[0]
    if kind != "" and most >= constant("table_kind_share") * len(judged):
        return kind
    texts = [str(value) for value in judged]
    share = distinct / len(filled)
    if share > constant("label_share") and len(filled) >= constant("table_few_rows"):
        return TEXT if kind_of_texts(texts) == LANGUAGE else IDENTIFIER
    return CATEGORY


def _kind_of(value: Any) -> str:
    """Of one cell; "" for a word."""
    if isinstance(value, bool):
        return CATEGORY
    if isinstance(value, Number):
        return NUMBER
    if isinstance(value, (datetime.date, datetime.time, datetime.timedelta)):
        return DATE
    return _kind_of_word(str(value).strip())


@cache
def _kind_of_word(text: str) -> str:
    if number_of(text) is not None:
        return NUMBER
    kind = kind_of_text(text)
    return {"number": NUMBER, "date": DATE}.get(kind, "")


def number_of(value: Any) -> float | None:
    """A cell as a number, ``1,234.5`` too; None where it is none."""
    try:
        return float(value.replace(",", "") if isinstance(value, str) else value)
    except (TypeError, ValueError):
        return None


def _whole(filled: Sequence[Any]) -> bool:
    numbers = [n for n in map(number_of, filled) if n is not None]
    return bool(numbers) and all(n.is_integer() for n in numbers)


def _identifies(path: str, filled: Sequence[Any], distinct: int, *, is_first: bool) -> bool:
    """Whole numbers that differ from row to row, by their name or because the first column counts
    the rows."""
    if distinct < len(filled) or len(filled) < constant("table_few_rows"):
        return False
    if names.role_of(path)[0] == "identifier":
        return True
    if not is_first:
        return False
    numbers = [number_of(value) or 0.0 for value in filled]
    return all(b - a == 1 for a, b in zip(numbers, numbers[1:]))
