"""A table of measured runs, one a row, or of one run's steps; columns by the record's own names or
by a mapping."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from planner.errors import DataError, FieldName, QuestionError
from planner.ledger.importers.found import Found, Problems
from planner.ledger.importers.mapping import Column, value_types
from planner.ledger.importers.text import number, plain_text, table_of
from planner.ledger.stopwatch import StepTimes

#: Columns of published tables that say the same in other words.
ALIASES = {"oom": "out_of_memory"}
PEAKS = {
    "allocated": "peak_allocated_bytes",
    "reserved": "peak_reserved_bytes",
    "device": "device_used_bytes",
}
FLAGS = {"1": True, "0": False, "true": True, "false": False, "yes": True, "no": False}


def recognises(place: Path) -> bool:
    return place.is_file() and place.suffix.lower() in (".csv", ".tsv")


def read(
    place: Path,
    problems: Problems,
    mapping: Mapping[str, Column] | None = None,
    steps: bool = False,
) -> Iterator[Found]:
    """Each row a run; with ``steps`` all rows the steps of one. Raises DataError for a table
    without a known column, QuestionError for a mapped column that is not there."""
    rows = table_of(place, problems)
    first = next(rows, None)
    if first is None:
        raise DataError("a header and no rows", where=str(place))
    columns = _columns(place, first[1], mapping or {})
    if steps:
        yield _one_run(place, _chain(first, rows), columns, problems)
        return
    for row, cells in _chain(first, rows):
        try:
            found = _run(row, cells, columns)
        except ValueError as error:
            problems.say(f"{place.name} row {row}", str(error), row=True)
        else:
            yield found


def _chain(
    first: tuple[int, dict[str, str]], rest: Iterator[tuple[int, dict[str, str]]]
) -> Iterator[tuple[int, dict[str, str]]]:
    yield first
    yield from rest


def _columns(place: Path, header: Mapping[str, str], mapping: Mapping[str, Column]) -> list[Column]:
    missing = [column.column for column in mapping.values() if column.column not in header]
    if missing:
        raise QuestionError(
            f"{place.name} has no column {missing[0]!r}",
            where=FieldName("map"),
            mend=f"It has: {', '.join(list(header)[:30])}",
        )
    named = {ALIASES.get(name, name): name for name in header}
    types = value_types()
    same = {
        name: Column(name, types[name], column) for name, column in named.items() if name in types
    }
    found = {**same, **mapping}
    if not any(column.measured for column in found.values()) and "peak_bytes" not in header:
        raise DataError(
            "no column of it is known as a measurement",
            where=str(place),
            mend=f"Say which is which, for example {FieldName('map')} "
            f"step_seconds={next(iter(header))}:ms. It has: {', '.join(list(header)[:20])}",
        )
    return list(found.values())


def _run(row: int, cells: Mapping[str, str], columns: list[Column]) -> Found:
    values = {column.name: _value(column, cells.get(column.column, "")) for column in columns}
    values = {name: value for name, value in values.items() if value is not None}
    peak = number(cells.get("peak_bytes"))
    if peak and cells.get("memory") in PEAKS:
        values[PEAKS[cells["memory"]]] = int(peak)
    measured = {column.name for column in columns if column.measured} | set(PEAKS.values())
    notes = tuple(plain_text(cells[name]) for name in ("source", "assumed") if cells.get(name))
    measurement = _of_the_timed_part(
        {name: value for name, value in values.items() if name in measured},
        cells.get("measures") or "step",
    )
    if measurement.get("out_of_memory") is False and len(measurement) == 1:
        measurement = {}  # that a run did not fail is no measurement of it
    return Found(
        f"row {row}",
        {name: value for name, value in values.items() if name not in measured},
        measurement,
        notes,
    )


def _of_the_timed_part(measurement: dict[str, Any], part: str) -> dict[str, Any]:
    """A column ``measures`` says which part of a step the time is of (step, forward_backward,
    forward). Raises ValueError."""
    if part == "step" or "step_seconds" not in measurement:
        return measurement
    if part not in ("forward", "forward_backward"):
        raise ValueError(f"measures: {part[:40]!r} is none of step, forward_backward, forward")
    rest = {
        name: value for name, value in measurement.items() if not name.startswith("step_seconds")
    }
    return {f"{part}_seconds": measurement["step_seconds"], **rest}


def _value(column: Column, cell: str) -> Any:
    """The cell in the record's unit, None where it is blank. Raises ValueError naming the
    column."""
    if cell in ("", "None", "null"):
        return None
    try:
        return READERS.get(column.value_type, _number)(column, cell)
    except ValueError as error:
        raise ValueError(f"{column.column}: {error}") from None


def _number(column: Column, cell: str) -> float | None:
    found = number(cell)
    if found is None:
        return None
    found *= column.factor
    if column.value_type in ("count", "whole"):
        return _whole(found, cell, rounded=column.factor != 1.0 or column.name.endswith("_bytes"))
    positive = column.value_type in ("positive", "positives")
    if positive and found <= 0 or column.value_type == "amount" and found < 0:
        raise ValueError(f"{cell[:40]!r} is not above 0")
    return found


def _object(column: Column, cell: str) -> Any:
    text = plain_text(cell)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("not JSON") from None


def _flag(cell: str) -> bool:
    if cell.lower() not in FLAGS:
        raise ValueError(f"{cell[:40]!r} is neither true nor false")
    return FLAGS[cell.lower()]


def _whole(value: float, cell: str, rounded: bool) -> int:
    if not rounded and value != int(value):
        raise ValueError(f"{cell[:40]!r} is not a whole number")
    return round(value)


#: How the cell of a type is read; all others are numbers.
READERS: dict[str, Callable[[Column, str], Any]] = {
    "flag": lambda column, cell: _flag(cell),
    "text": lambda column, cell: plain_text(cell),
    "strategy": lambda column, cell: plain_text(cell).lower().replace("-", "_").replace(" ", "_"),
    "names": lambda column, cell: plain_text(cell).replace(",", " ").split(),
    "object": _object,
}


def _one_run(
    place: Path,
    rows: Iterator[tuple[int, dict[str, str]]],
    columns: list[Column],
    problems: Problems,
) -> Found:
    """All rows are steps of one run: times make a median, memory its largest, losses the first and
    the last."""
    times, peaks, losses, seconds = StepTimes(), {}, [], 0.0
    for row, cells in rows:
        try:
            values = {
                column.name: _value(column, cells.get(column.column, "")) for column in columns
            }
        except ValueError as error:
            problems.say(f"{place.name} row {row}", str(error), row=True)
            continue
        if values.get("step_seconds") is not None:
            times.add(values["step_seconds"])
        for name, value in values.items():
            if name.endswith("_bytes") and value is not None:
                peaks[name] = max(value, peaks.get(name, 0))
        seconds += values.get("data_seconds") or 0.0
        losses += [
            value for name in ("loss_first", "loss_last") if (value := values.get(name)) is not None
        ][:1]
    found = {**times.summary(), **peaks, **({"steps": times.count} if times.count else {})}
    found |= {"loss_first": losses[0], "loss_last": losses[-1]} if losses else {}
    found |= {"data_seconds": seconds / times.count} if seconds and times.count else {}
    return Found("", {"steps": times.count} if times.count else {}, found)
