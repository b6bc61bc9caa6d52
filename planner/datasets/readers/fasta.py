"""FASTA: sequences of proteins or of bases, each behind a line that begins with >."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from planner.datasets.blocks import Chunk, extrapolate, read_chunks
from planner.datasets.readers import Budget, Reader, Sample
from planner.errors import DataError

START = ">"
MEND = "Begin each sequence with a line such as '>name', its letters on the lines below"


def read(files: Sequence[Path], root: Path, budget: Budget) -> Sample:
    """A record a sequence: its letters, which are what is trained. Raises DataError."""
    chunks = read_chunks(files, budget)
    parts = [_sequences(chunk) for chunk in chunks.chunks]
    records = [record for part in parts for record in part]
    if not records:
        raise DataError("there is no sequence", where=str(files[0]), mend=MEND)
    samples, error = extrapolate([len(part) for part in parts], chunks)
    return Sample(
        "fasta",
        records,
        samples,
        chunks.whole,
        samples_relative_error=error,
        blocks=np.repeat(np.arange(len(parts)), [len(part) for part in parts]),
        assumptions=("a record is a sequence: the letters between two lines that begin with >",),
        warnings=chunks.warnings,
    )


def _sequences(chunk: Chunk) -> list[dict[str, Any]]:
    """Those whose name stands in the chunk; the last is ended from the lines behind it."""
    tail = _text(chunk.tail)
    end = next((i for i, line in enumerate(tail) if line.startswith(START)), len(tail))
    records: list[dict[str, Any]] = []
    for line in [*_text(chunk.lines), *tail[:end]]:
        if line.startswith(START):
            records.append({"sequence": ""})
        elif records:
            records[-1]["sequence"] += line.strip().rstrip("*")
    return [record for record in records if record["sequence"]]


def _text(lines: Sequence[bytes]) -> list[str]:
    return [line.decode("utf-8", errors="replace") for line in lines]


READER = Reader("fasta", (".fasta", ".fa", ".faa", ".fna", ".fas"), read, hint="sequences")
