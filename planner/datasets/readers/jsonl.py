"""JSON Lines: a JSON object a line (also a bare string, or a bare list of chat messages). A file
that is one JSON array under this name is read as the array that it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from planner.datasets.compressed import BROKEN_COMPRESSION
from planner.datasets.readers import Budget, Reader, Sample
from planner.datasets.readers.json_list import is_document, read_documents
from planner.datasets.readers.lines import read_lines
from planner.errors import DataError

PLAIN, PACKED = (".jsonl", ".ndjson", ".json"), (".gz", ".bz2", ".xz", ".zst")


def read(files: Sequence[Path], root: Path, budget: Budget) -> Sample:
    """Raises DataError when more than a small share of the lines is no JSON object."""
    filled = [file for file in files if file.stat().st_size]
    if not filled or not _is_document(filled[0], budget):
        return read_lines("jsonl", files, budget)
    try:
        size = sum(file.stat().st_size for file in filled)
        sample = read_documents("json", filled, size, budget)
    except DataError:
        return read_lines("jsonl", files, budget)  # a broken line: said with its place
    note = f"{filled[0].name} is a JSON document, not an object a line, and is read as one"
    return replace(sample, said=(note, *sample.said))


def _is_document(file: Path, budget: Budget) -> bool:
    try:
        return is_document(file, budget)
    except (UnicodeDecodeError, OSError, *BROKEN_COMPRESSION):
        return False  # the reader of lines says what is wrong


READER = Reader(
    "jsonl",
    (*PLAIN[:2], *(plain + packed for plain in PLAIN for packed in PACKED)),
    read,
    hint="a JSON object a line",
)
