"""CoNLL text: a token and its tags a line, a blank line between sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from planner.datasets.blocks import Chunk, extrapolate, read_chunks
from planner.datasets.readers import Budget, Reader, Sample
from planner.errors import DataError

DOCUMENT = "-DOCSTART-"
MOST_COLUMNS = 14
TAG = re.compile(r"[BIESOLUM](-\S+)?")
#: Share of the lines that must look like tokens with tags.
TAGGED_SHARE = 0.95
MEND = "Give a token and its tag a line, parted by a blank or a tab, and a blank line after each"


def is_tagged(text: str) -> bool:
    """Lines of a token and tags of one width, the last a tag such as B-PER or O (or CoNLL-U's ten
    columns), with blank lines between the sentences."""
    lines = text.split("\n")
    rows = [line.split() for line in lines if line.strip() and not line.startswith(("#", DOCUMENT))]
    if len(rows) < 3 or len(rows) == len(lines):
        return False
    width = len(rows[0])
    if not 2 <= width <= MOST_COLUMNS:
        return False
    good = sum(len(row) == width and _is_tag(row) for row in rows)
    return good >= TAGGED_SHARE * len(rows)


def _is_tag(row: Sequence[str]) -> bool:
    return TAG.fullmatch(row[-1]) is not None or (len(row) == 10 and row[0].split("-")[0].isdigit())


def read(files: Sequence[Path], root: Path, budget: Budget) -> Sample:
    """A record a sentence: its tokens and, of the last column, their tags. Raises DataError."""
    chunks = read_chunks(files, budget)
    parts = [_sentences(chunk) for chunk in chunks.chunks]
    records = [record for part in parts for record in part]
    if not records:
        raise DataError("there is no sentence of tagged tokens", where=str(files[0]), mend=MEND)
    samples, error = extrapolate([len(part) for part in parts], chunks)
    return Sample(
        "conll",
        records,
        samples,
        chunks.whole,
        samples_relative_error=error,
        blocks=np.repeat(np.arange(len(parts)), [len(part) for part in parts]),
        assumptions=("a record is a sentence: tokens a line, blank lines between",),
        warnings=chunks.warnings,
    )


def _sentences(chunk: Chunk) -> list[dict[str, Any]]:
    """Those that start in the chunk; of one from the middle of a file the first is left out, whose
    start was not seen, and the last is ended from the lines behind it."""
    own = [line.decode("utf-8", errors="replace").rstrip("\r\n") for line in chunk.lines]
    tail = [line.decode("utf-8", errors="replace").rstrip("\r\n") for line in chunk.tail]
    if own and own[-1].strip() and tail:
        end = next((i for i, line in enumerate(tail) if not line.strip()), len(tail))
        own += tail[:end]
    groups: list[list[list[str]]] = [[]]
    for line in own:
        if not line.strip():
            groups.append([])
        elif not line.startswith(("# ", DOCUMENT)):
            groups[-1].append(line.split("\t") if "\t" in line else line.split())
    if chunk.first_line is None:
        groups = groups[1:]
    return [_record(rows) for rows in groups if rows]


def _record(rows: Sequence[Sequence[str]]) -> dict[str, Any]:
    ten = len(rows[0]) == 10 and rows[0][0].split("-")[0].isdigit()
    token, tag = (1, 3) if ten else (0, -1)
    kept = [row for row in rows if len(row) == len(rows[0])]
    return {"tokens": [row[token] for row in kept], "tags": [row[tag] for row in kept]}


READER = Reader(
    "conll", (".conll", ".conllu", ".conll03", ".bio", ".iob", ".iob2"), read, hint="tagged tokens"
)
