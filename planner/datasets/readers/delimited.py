"""CSV and TSV with a header row."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np

from planner.datasets.blocks import Chunk, Tally, extrapolate, read_chunks
from planner.datasets.compressed import open_binary
from planner.datasets.descriptions import PLAIN_COLUMNS, headerless, with_spoken
from planner.datasets.readers import Budget, Reader, Sample
from planner.errors import DataError

DELIMITERS = ",;\t|"
# rows that must have the header's number of cells before a place is taken as the start of a row
SYNC_ROWS = 5
SYNC_TRIES = 200
NAME_CHARACTERS = 80
MOST_COLUMNS = 20_000
BELOW_BYTES = 2**16  # read below the header, to see whether it is one
SENTENCE_WORDS = 5
REPEATED = 2  # a name that stands in as many rows of its own column is a value
MEND = (
    "Each row needs as many cells as the header; put text with commas or line ends in double quotes"
)


def read(files: Sequence[Path], root: Path, budget: Budget) -> Sample:
    """Raises DataError for a file without a header or with rows of the wrong width."""
    chunks, tally = read_chunks(files, budget), Tally()
    headers: dict[Path, tuple[list[str], str]] = {}
    records, blocks, counts = [], [], []
    with _long_fields(budget.longest_record_bytes):
        for number, chunk in enumerate(chunks.chunks):
            if chunk.file not in headers:
                headers[chunk.file] = header(chunk.file)
            names, delimiter = headers[chunk.file]
            has_header = not plain_table(chunk.file)
            rows = list(_rows(chunk, names, delimiter, tally, has_header))
            found = [dict(zip(names, row)) for row in rows]
            records += found if has_header else map(with_spoken, found)
            blocks += [number] * len(rows)
            counts.append(len(rows))
    tally.good = len(records)
    warnings = tally.warnings(MEND) + chunks.warnings
    if not records:
        raise DataError(
            "there is a header but no row",
            where=str(files[0]),
            mend="Add the data below the header",
        )
    samples, error = extrapolate(counts, chunks)
    odd = sorted({d for _, d in headers.values()} - {",", "\t"})
    notes = tuple(f"cells are separated by {d!r}" for d in odd)
    return Sample(
        "csv",
        records,
        samples,
        chunks.whole,
        samples_relative_error=error,
        blocks=np.array(blocks, dtype=np.int64),
        assumptions=notes,
        warnings=warnings,
    )


@contextmanager
def _long_fields(limit: int) -> Iterator[None]:
    """The csv module refuses cells over 128 kB by default; documents are longer."""
    before = csv.field_size_limit(limit)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def header(file: Path) -> tuple[list[str], str]:
    """(column names, delimiter). Raises DataError when the first row looks like data."""
    with open_binary(file) as handle:
        line = handle.readline(2**20).decode("utf-8-sig", errors="replace").rstrip("\r\n")
        below = handle.read(BELOW_BYTES).decode("utf-8", errors="replace").splitlines()
    names = file.name.lower().removesuffix(".gz")
    delimiter = (
        "\t"
        if names.endswith((".tsv", ".tab"))
        else max(DELIMITERS, key=lambda d: (line.count(d), d == ","))
    )
    try:
        cells = next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error as error:
        raise DataError(f"the header is not CSV: {error}", where=f"{file}:1", mend=MEND) from error
    if delimiter == "|" and headerless(cells):
        return list(PLAIN_COLUMNS[: len(cells)]), delimiter
    if len(cells) > MOST_COLUMNS:
        raise DataError(
            f"it has {len(cells):,} columns, and at most {MOST_COLUMNS:,} are read",
            where=f"{file}:1",
            mend="Put what belongs together into one column, or leave columns out",
        )
    problem = _no_header(cells) or _is_row(cells, below[:-1], delimiter)
    if problem:
        raise DataError(
            f"the first row is not a header: {problem}",
            where=f"{file}:1",
            mend="Add a first row with the columns' names, for example text,label",
        )
    return [cell.strip() for cell in cells], delimiter


@cache
def plain_table(file: Path) -> bool:
    """LJSpeech's ``id|text|normalized text``: no header, and quotes are signs of the text."""
    with open_binary(file) as handle:
        line = handle.readline(2**20).decode("utf-8-sig", errors="replace").rstrip("\r\n")
    return line.count("|") > max(line.count(d) for d in "\t;") and headerless(line.split("|"))


def _no_header(cells: list[str]) -> str:
    """Why these cells cannot be names; empty where they can."""
    if not any(cell.strip() for cell in cells):
        return "it is blank"
    for cell in cells:
        if cell.strip().lstrip("+-").replace(".", "", 1).isdigit() and not (
            len(cells) > 1 and cell == cells[0] == "0"
        ):
            return f"{cell!r} is a number, not a name"
        if len(cell) > NAME_CHARACTERS:
            return f"{cell[:40]!r}… is too long for a name"
    twice = [cell for cell, count in Counter(cells).items() if cell.strip() and count > 1]
    return f"{sorted(twice)[0]!r} stands there twice" if twice else ""


def _is_row(cells: list[str], below: list[str], delimiter: str) -> str:
    """Why these cells are values: one is a sentence, or stands again below itself. A row that
    repeats all of them is a header again, where files were put together."""
    for cell in cells:
        if len(cell.split()) >= SENTENCE_WORDS and cell.rstrip().endswith((".", "!")):
            return f"{cell[:40]!r}… is a sentence, not a name"
    try:
        rows = [row for row in csv.reader(below, delimiter=delimiter) if row != cells]
    except csv.Error:
        return ""
    for place, cell in enumerate(cells):
        again = sum(len(row) == len(cells) and row[place] == cell for row in rows)
        if cell.strip() and again >= REPEATED:
            return f"{cell[:40]!r} is also in {again} of the rows below it"
    return ""


def _rows(
    chunk: Chunk, names: list[str], delimiter: str, tally: Tally, has_header: bool = True
) -> Iterator[list[str]]:
    """The rows that start in the chunk and have the header's width; others are tallied."""
    lines = [line.decode("utf-8", errors="replace") for line in (*chunk.lines, *chunk.tail)]
    start = int(has_header) if chunk.first_line is not None else 0
    if chunk.first_line is None and has_header:
        start = _sync(lines, len(names), delimiter)
    quoting = csv.QUOTE_MINIMAL if has_header else csv.QUOTE_NONE
    reader = csv.reader(lines[start:], delimiter=delimiter, quoting=quoting)
    while start + reader.line_num < len(chunk.lines):
        place = start + reader.line_num
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            tally.skip(chunk.place(place), f"not CSV: {error}")
            continue
        if len(row) == len(names):
            yield row
        elif row:
            tally.skip(chunk.place(place), f"{len(row)} cells in a row, {len(names)} in the header")


def _sync(lines: list[str], width: int, delimiter: str) -> int:
    """The first line at which rows of the right width begin: a block may start inside a quoted cell
    with line ends."""
    for start in range(min(SYNC_TRIES, len(lines))):
        reader = csv.reader(lines[start : start + 50 * SYNC_ROWS], delimiter=delimiter)
        try:
            widths = [len(row) for _, row in zip(range(SYNC_ROWS), reader)]
        except csv.Error:
            continue
        if widths and all(w == width for w in widths[:-1] or widths):
            return start
    return 0


READER = Reader(
    "csv",
    (".csv", ".tsv", ".tab", ".csv.gz", ".tsv.gz", ".csv.bz2", ".csv.xz", ".csv.zst", ".tsv.zst"),
    read,
    hint="a table with a header row",
)
