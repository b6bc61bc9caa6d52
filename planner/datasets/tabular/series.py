"""Series over time in a table: long (a row a series and moment), wide (a column a series), or a
row a series."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from planner.datasets.constants import constant
from planner.datasets.layout.cells import names
from planner.datasets.tabular.columns import (
    CATEGORY,
    DATE,
    IDENTIFIER,
    NUMBER,
    Cells,
    Records,
    columns_of,
    is_missing,
    named,
    wanted,
)
from planner.errors import DataError, FieldName
from planner.first_lines import FirstLine

LONG, WIDE, ROWS = "long", "wide", "rows"
MOST_NAMES = 4


@dataclass(frozen=True, eq=False)
class SeriesFound:
    """``lengths``: int64 [series], steps of each series of the records read. ``layout``: long |
    wide | rows. ``values``: the columns of values; of a wide table each is a series, of a long one
    each is read beside the others at every step. ``whole``: every row was read."""

    lengths: np.ndarray
    layout: str
    values: tuple[str, ...]
    value: str  # the one that a model of single values reads
    whole: bool
    roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    columns: Mapping[str, Cells] = field(default_factory=dict)
    first_lines: tuple[FirstLine, ...] = ()


@dataclass(frozen=True)
class _Columns:
    time: str | None
    ids: tuple[str, ...]
    values: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    names_rows: bool = False  # a column has a name for each row
    repeats: bool = False  # moments come again in a series


def series_of(
    records: Records, given: Sequence[str] | None, source: str, samples: int
) -> SeriesFound:
    """Of records read; ``given``: the columns that count, as the user named them; ``samples``: rows
    in all. Raises DataError where no column holds numbers over time."""
    columns = columns_of(records)
    chosen = wanted(given, columns, source) or list(columns)
    parts = _parted(records, {path: columns[path] for path in chosen}, source)
    whole = samples <= len(records)
    if _is_row_a_series(parts):
        found = _of_rows(records, parts)
    elif parts.ids:
        found = _long(records, parts)
    else:
        found = _wide(records, parts)
    lengths, layout, values = found
    if layout == WIDE and not whole:
        lengths = np.full(len(lengths), samples)
    value = named(values, "series", "value") or values[-1]
    made = SeriesFound(lengths, layout, values, value, whole, _roles(parts), columns)
    return replace(made, first_lines=tuple(_said(made, parts, samples)))


def _parted(records: Records, columns: Mapping[str, Cells], source: str) -> _Columns:
    """Which column is the time, which tell series apart, which are values."""
    time = named(columns, "series", "time") or next(
        (path for path, cells in columns.items() if cells.kind == DATE), None
    )
    rest = {path: cells for path, cells in columns.items() if path != time}
    numbers = [path for path, cells in rest.items() if cells.kind == NUMBER]
    again = [path for path, cells in rest.items() if cells.distinct < len(records)]
    words = [path for path in again if rest[path].kind in (CATEGORY, IDENTIFIER)]
    called = named(again, "series", "id")
    ids = [called] if called else []
    value = named([p for p in numbers if p not in ids], "series", "value")
    if time is None:
        ids += [path for path in words if path not in ids]
    elif not _tells(records, [time, *ids]):
        coded = [path for path in numbers if path != value and _names_series(path, rest[path])]
        ids += [path for path in (*words, *coded) if path not in ids]
    values = [path for path in numbers if path not in ids]
    if not values:
        kinds = ", ".join(f"{path!r} holds {cells.kind}" for path, cells in columns.items())
        raise DataError(
            f"no column holds the values of a series: {kinds[:200]}",
            where=source,
            mend="Give a table with columns id, timestamp, value, or a column a series",
        )
    left = tuple(p for p in rest if p not in ids and p not in values)
    row = any(rest[p].kind == IDENTIFIER and not rest[p].whole for p in left)
    repeats = time is not None and not _tells(records, [time, *ids])
    return _Columns(time, tuple(ids), tuple(values), left, row, repeats)


def _names_series(path: str, cells: Cells) -> bool:
    """Whether whole numbers are a series' name: ``store``, ``item_nbr``."""
    known = set(names.words("series", "id"))
    parts = {names.normal(path), *names.normal(path).split("_")}
    return cells.whole and bool(parts & known)


def _tells(records: Records, paths: Sequence[str]) -> bool:
    """Whether these columns together differ from row to row."""
    return len({_key(record, paths) for record in records}) >= constant("table_kind_share") * len(
        records
    )


def _key(record: Mapping[str, Any], paths: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(record.get(path)) for path in paths)


def _is_row_a_series(parts: _Columns) -> bool:
    many = len(parts.values) >= constant("series_row_values")
    return parts.time is None and parts.names_rows and many


Found = tuple[np.ndarray, str, tuple[str, ...]]


def _of_rows(records: Records, parts: _Columns) -> Found:
    lengths = [sum(not is_missing(r.get(path)) for path in parts.values) for r in records]
    return np.array(lengths, dtype=np.int64), ROWS, parts.values


def _long(records: Records, parts: _Columns) -> Found:
    counts = Counter(_key(record, parts.ids) for record in records)
    return np.array(list(counts.values()), dtype=np.int64), LONG, parts.values


def _wide(records: Records, parts: _Columns) -> Found:
    lengths = [sum(not is_missing(r.get(path)) for r in records) for path in parts.values]
    return np.array(lengths, dtype=np.int64), WIDE, parts.values


def _roles(parts: _Columns) -> dict[str, tuple[str, ...]]:
    roles = {"time": (parts.time,) if parts.time else (), "series": parts.ids}
    return {role: paths for role, paths in (*roles.items(), ("value", parts.values)) if paths}


def _said(found: SeriesFound, parts: _Columns, samples: int) -> Iterator[FirstLine]:
    count, least, most = len(found.lengths), int(found.lengths.min()), int(found.lengths.max())
    steps = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    how = {
        LONG: f"told apart by {_listed(parts.ids)}",
        WIDE: f"a column each: {_listed(found.values)}",
        ROWS: "a row each",
    }[found.layout]
    by = f", in the order of {parts.time!r}" if parts.time else ""
    one = "series" if count == 1 else f"series, {how}"
    text = f"{samples:,} rows: {count:,} {one}, of {steps} steps{by}"
    change = f"{FieldName('text_columns')} names the columns that count"
    yield FirstLine("data", f"{text}; {change}")
    if parts.time is None and found.layout != ROWS:
        text = f"no column holds times: the rows are taken as steps in their order; {change}"
        yield FirstLine("data", text, warning=True)
    if parts.repeats:
        text = (
            f"times in {parts.time!r} come more than once in a series: each row is taken as a step "
            f"all the same; {change}"
        )
        yield FirstLine("data", text, warning=True)
    if not found.whole and found.layout != WIDE:
        text = (
            f"the file was read in parts, in which {count:,} series were seen: how many there are, "
            "and so the windows, are a guess"
        )
        yield FirstLine("data", text, warning=True)
    if parts.left_out:
        yield FirstLine("left_out", f"columns left out: {_listed(parts.left_out)}")


def _listed(paths: Sequence[str]) -> str:
    shown, more = ", ".join(map(repr, paths[:MOST_NAMES])), len(paths) - MOST_NAMES
    return shown + (f" and {more} more" if more > 0 else "")
