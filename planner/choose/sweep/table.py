"""Rows as a file by its suffix: Parquet, CSV or JSON lines, written whole or not at all and a row
at a time, so that a long table needs no memory."""

from __future__ import annotations

import csv
import importlib.util
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from planner.choose.sweep.columns import DOCUMENT, Type
from planner.errors import FieldName, MissingExtraError, QuestionError, nearest
from planner.files import check_place, replaced

Rows = Iterable[Mapping[str, Any]]
Columns = Mapping[str, Type]
#: Rows of one group of a Parquet file, which are in memory at once, and characters of documents.
GROUP, GROUP_TEXT = 20_000, 8_000_000


def check_output(path: Path) -> None:
    """Before any work: that the suffix is one of a table, its library is there, and its folder.
    Raises QuestionError and MissingExtraError."""
    if path.suffix.lower() not in WRITERS:
        near = nearest(path.suffix, WRITERS, count=1) if path.suffix else []
        hint = f"Did you mean {near[0]}? " if near else ""
        raise QuestionError(
            f"{path.suffix or str(path)!r} is no format of a table",
            where=FieldName("output"),
            mend=f"{hint}End it in {', '.join(WRITERS)}",
        )
    if path.suffix.lower() == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise MissingExtraError("pyarrow", "sweep", "a Parquet file")
    check_place(path)


def holds_documents(path: Path) -> bool:
    """Whether whole answers are in it unless somebody says otherwise: not in a table for a
    spreadsheet."""
    return path.suffix.lower() != ".csv"


def write_table(path: Path, columns: Columns, rows: Rows) -> None:
    """Raises MachineError where the machine refuses."""
    with replaced(path) as temporary:
        WRITERS[path.suffix.lower()](temporary, columns, rows)


def _csv(path: Path, columns: Columns, rows: Rows) -> None:
    with path.open("w", encoding="utf-8", newline="", errors="replace") as file:
        writer = csv.DictWriter(file, list(columns), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: _plain(row.get(name)) for name in columns})


def _plain(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _jsonl(path: Path, columns: Columns, rows: Rows) -> None:
    """The document is an object within its row, not a text."""
    with path.open("w", encoding="utf-8", errors="replace") as file:
        for row in rows:
            plain = {name: row.get(name) for name in columns if name != DOCUMENT}
            line = json.dumps(plain, ensure_ascii=False, allow_nan=False)
            if DOCUMENT in columns:
                line = f'{line[:-1]}, "{DOCUMENT}": {row.get(DOCUMENT) or "null"}}}'
            file.write(line + "\n")


def _parquet(path: Path, columns: Columns, rows: Rows) -> None:
    import pyarrow as arrow
    from pyarrow import parquet

    types = {
        "text": arrow.string(),
        "whole": arrow.int64(),
        "number": arrow.float64(),
        "truth": arrow.bool_(),
    }
    schema = arrow.schema([(name, types[kind]) for name, kind in columns.items()])
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for group in _groups(rows):
            held = [
                arrow.array([_typed(row.get(name), kind) for row in group], types[kind])
                for name, kind in columns.items()
            ]
            writer.write_table(arrow.table(held, schema=schema))


def _groups(rows: Rows) -> Iterator[list[Mapping[str, Any]]]:
    group: list[Mapping[str, Any]] = []
    text = 0
    for row in rows:
        group.append(row)
        text += len(row.get(DOCUMENT) or "")
        if len(group) == GROUP or text > GROUP_TEXT:
            yield group
            group, text = [], 0
    if group:
        yield group


def _typed(value: Any, kind: Type) -> Any:
    """JSON knows one sort of numbers."""
    if value is None:
        return None
    return float(value) if kind == "number" else int(value) if kind == "whole" else value


WRITERS: dict[str, Callable[[Path, Columns, Rows], None]] = {
    ".parquet": _parquet,
    ".csv": _csv,
    ".jsonl": _jsonl,
}
