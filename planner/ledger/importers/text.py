"""Reading text that a stranger wrote: any encoding, any size, any number. Errors are one line with
file and row."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from planner.errors import DataError
from planner.files import loads, read_bytes
from planner.ledger.importers.found import Problems

LARGEST_FILE_BYTES = 512 * 2**20
LONGEST_LINE = 2**20  # characters
LARGEST_NUMBER = 1e30  # beyond it is no measurement of anything
FORMULA = ("=", "+", "-", "@", "\t", "\r")

_LIMIT_BYTES = 4 * 2**10


def read_text(path: Path, problems: Problems) -> str:
    """UTF-8, UTF-16 with or without its mark, else Latin-1 (which is said). Raises DataError."""
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE_BYTES:
            raise DataError(
                f"{size / 2**20:.0f} MiB are more than a log has",
                where=str(path),
                mend="Cut it into parts",
            )
        raw = read_bytes(path, LARGEST_FILE_BYTES)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=str(path)) from error
    encoding = _encoding(raw)
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        if encoding != "utf-8-sig":
            raise DataError(
                f"begins as {encoding} text and does not go on as such", where=str(path)
            ) from None
        problems.say(path.name, "is not UTF-8: read as Latin-1")
        return raw.decode("latin-1")


def _encoding(raw: bytes) -> str:
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    head = raw[:_LIMIT_BYTES]
    if len(head) >= 4 and head[1::2].count(0) > 0.4 * len(head) / 2:
        return "utf-16-le"
    if len(head) >= 4 and head[::2].count(0) > 0.4 * len(head) / 2:
        return "utf-16-be"
    return "utf-8-sig"


def lines_of(path: Path, problems: Problems) -> Iterator[tuple[int, str]]:
    """(row, line) without the blank ones and those that are longer than any log writes."""
    for row, line in enumerate(read_text(path, problems).splitlines(), 1):
        if len(line) > LONGEST_LINE:
            problems.say(
                f"{path.name} row {row}", f"a line of {len(line)} characters is left out", row=True
            )
        elif line.strip():
            yield row, line.replace("\0", "")


def json_of(path: Path, problems: Problems) -> Any:
    """The document. Raises DataError where it is none, or ends in the middle."""
    try:
        return loads(read_text(path, problems))
    except (ValueError, RecursionError) as error:
        detail = (
            f"line {error.lineno}: {error.msg}"
            if isinstance(error, json.JSONDecodeError)
            else "nested too deep"
        )
        raise DataError(
            f"not a whole JSON document ({detail})",
            where=str(path),
            mend="Was it cut off? Copy it again",
        ) from None


def table_of(
    path: Path, problems: Problems, delimiter: str | None = None
) -> Iterator[tuple[int, dict[str, str]]]:
    """(row, cells by column) of a table with a header; rows with more cells than columns are left
    out. Raises DataError for one without a header. ``delimiter`` None: whichever of , ; tab | the
    header has most of."""
    lines = lines_of(path, problems)
    number, first = next(lines, (0, ""))
    if not first:
        raise DataError("an empty file", where=str(path))
    delimiter = delimiter or max(",;\t|", key=first.count)
    header = [name.strip() for name in next(csv.reader([first], delimiter=delimiter))]
    if len(set(header)) < len(header):
        raise DataError(
            "two columns have one name", where=f"{path} row {number}", mend="Name each column once"
        )
    for row, line in lines:
        cells = _cells(line, delimiter)
        if cells is None or len(cells) > len(header):
            problems.say(f"{path.name} row {row}", "does not have the header's columns", row=True)
        else:
            yield row, dict(zip(header, (cell.strip() for cell in cells)))


def _cells(line: str, delimiter: str) -> list[str] | None:
    try:
        return next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))
    except (csv.Error, StopIteration):
        return None


def number(cell: Any) -> float | None:
    """A finite number; None where nothing stands. Raises ValueError for anything else, numbers
    beyond reason too."""
    if cell is None or isinstance(cell, bool):
        return None
    if isinstance(cell, str):
        cell = cell.strip()
        if cell.lower() in ("", "null", "none", "n/a", "[n/a]", "[not supported]", "unknown"):
            return None
        if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?", cell, re.ASCII):
            raise ValueError(f"{cell[:40]!r} is not a number")
    try:
        value = float(cell)
    except (TypeError, OverflowError):
        raise ValueError(f"{str(cell)[:40]!r} is not a number") from None
    if not math.isfinite(value) or abs(value) > LARGEST_NUMBER:
        raise ValueError(f"{str(cell)[:40]!r} is not a finite number")
    return value


def positive(cell: Any) -> float | None:
    """As ``number``; None for nothing, ValueError for zero and below."""
    value = number(cell)
    if value is not None and value <= 0:
        raise ValueError(f"{str(cell)[:40]!r} is not above 0")
    return value


def lenient(cell: Any) -> float | None:
    """A positive number, None for everything else: of values that may as well be missing."""
    try:
        return positive(cell)
    except ValueError:
        return None


def plain_text(cell: str) -> str:
    """A name. Raises ValueError for what a spreadsheet would run as a formula, and for what is far
    too long."""
    if cell.startswith(FORMULA):
        raise ValueError(f"{cell[:40]!r} looks like a formula")
    if len(cell) > 1000:
        raise ValueError(f"a text of {len(cell)} characters")
    return "".join(c for c in cell if c.isprintable())
