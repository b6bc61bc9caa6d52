"""Runs as a flat table: one row a run, the names of ``setup`` as they stand in
``question/settings.py`` and ``profiles/measured/published.csv``, what was measured under
``measured_``, the estimate under ``estimated_``. A blank is unknown. Lists and mappings are JSON in
a cell."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from planner.errors import MissingExtraError, ProfileError
from planner.files import loads, read_text
from planner.ledger.database import LAYOUT
from planner.ledger.record import MEASUREMENT, RunRecord, setup_types

_HEAD = ("id", "created", "kind", "source")
#: What a spreadsheet takes for a formula (https://owasp.org/www-community/attacks/CSV_Injection,
#: 2026-11).
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_GROUPS = ("", "measured_", "estimated_", "version_", "machine_")
_PLAIN = (str, bool, int, float)

#: An export holds some kilobytes a run.
LARGEST_BYTES = 2**30


def as_json(records: Iterable[RunRecord]) -> str:
    """All of each run, as ``planner runs import`` reads it back."""
    document = {"layout": LAYOUT, "runs": [record.as_dict() for record in records]}
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_json(path: Path) -> Iterator[RunRecord]:
    """The runs of a file that ``as_json`` wrote. Raises ProfileError naming the first run that is
    wrong."""
    try:
        document = loads(read_text(path, LARGEST_BYTES))
    except OSError as error:
        raise ProfileError(f"cannot be read: {error.strerror}", where=str(path)) from None
    except (ValueError, RecursionError) as error:
        raise ProfileError(f"not JSON: {error}", where=str(path)) from None
    if not isinstance(document, dict) or not isinstance(document.get("runs"), list):
        raise ProfileError(
            "not an export of runs",
            where=str(path),
            mend="planner runs export FILE.json writes one",
        )
    layout = document.get("layout")
    if not isinstance(layout, int) or layout > LAYOUT:
        raise ProfileError(
            f"written by a newer planner (layout {str(layout)[:20]}; this one knows {LAYOUT})",
            where=str(path),
        )
    for number, values in enumerate(document["runs"], start=1):
        try:
            yield RunRecord.from_dict(values)
        except ProfileError as error:
            raise ProfileError(str(error), where=f"{path}, run {number}") from None


def as_csv(records: Iterable[RunRecord]) -> str:
    """A text that a spreadsheet would run as a formula gets an apostrophe before it; numbers stay
    numbers."""
    columns, rows = table(records)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([harmless(column) for column in columns])
    writer.writerows([harmless(row.get(column)) for column in columns] for row in rows)
    return text.getvalue()


def as_parquet(records: Iterable[RunRecord]) -> bytes:
    """One type a column: flags, whole numbers, numbers, else text. Raises MissingExtraError without
    pyarrow."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("pyarrow", "data", "writing Parquet") from None
    columns, rows = table(records)
    arrays = [
        pyarrow.array(*_typed([row.get(column) for row in rows], pyarrow)) for column in columns
    ]
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(arrays, names=columns), buffer)
    return buffer.getvalue()


def table(records: Iterable[RunRecord]) -> tuple[list[str], list[dict[str, Any]]]:
    """The columns in their order, and the rows; a column is there when one run has a value for
    it."""
    rows = [flat(record) for record in records]
    found = {name for row in rows for name, value in row.items() if value is not None}
    seen = dict.fromkeys(name for row in rows for name in row if name in found or name in _HEAD)
    return sorted(seen or dict.fromkeys(_HEAD), key=_place), rows


def flat(record: RunRecord) -> dict[str, Any]:
    """One run as one row."""
    row: dict[str, Any] = {name: getattr(record, name) for name in _HEAD}
    for prefix, values in (
        ("", record.setup),
        ("measured_", record.measurement),
        ("estimated_", _figures(record.estimate)),
        ("version_", record.versions),
        ("machine_", record.machine),
    ):
        for name, value in values.items():
            row.setdefault(prefix + name, _cell(value))
    return row | {"question": _cell(record.question), "notes": "; ".join(record.notes) or None}


def harmless(value: Any) -> Any:
    """What a spreadsheet may be given: a formula becomes text, a flag 1 or 0 as in the shipped
    tables."""
    if isinstance(value, bool):
        return int(value)
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _figures(estimate: Mapping[str, Any] | None) -> dict[str, Any]:
    """``{"step_seconds": {"p50": 1}}`` → ``{"step_seconds_p50": 1}``."""
    out: dict[str, Any] = {}
    for name, value in (estimate or {}).items():
        if isinstance(value, Mapping) and set(value) <= {"p10", "p50", "p90"}:
            out |= {f"{name}_{part}": figure for part, figure in value.items()}
        else:
            out[name] = value
    return out


def _cell(value: Any) -> Any:
    return (
        value
        if value is None or isinstance(value, _PLAIN)
        else json.dumps(value, sort_keys=True, ensure_ascii=False)
    )


def _place(column: str) -> tuple[int, int]:
    """Where a column stands: by what it tells of, then in the order of the record's names."""
    if column in ("question", "notes"):
        return len(_GROUPS) + ("question", "notes").index(column), 0
    group = next(
        (place for place, prefix in enumerate(_GROUPS) if prefix and column.startswith(prefix)), 0
    )
    known = _order(group)
    return group, known.index(column) if column in known else len(known)


def _order(group: int) -> tuple[str, ...]:
    if group == 0:
        return (*_HEAD, *setup_types())
    return tuple(f"measured_{name}" for name in MEASUREMENT) if group == 1 else ()


def _typed(values: list[Any], pyarrow: Any) -> tuple[list[Any], Any]:
    """The values, all of one type, and that type."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {bool}:
        return values, pyarrow.bool_()
    if kinds <= {int}:
        return values, pyarrow.int64()
    if kinds <= {int, float}:
        return [None if value is None else float(value) for value in values], pyarrow.float64()
    return [
        value if value is None or isinstance(value, str) else json.dumps(value) for value in values
    ], pyarrow.string()
