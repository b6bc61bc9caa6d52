"""JSON Lines: a JSON object a line (also a bare string, or a bare list of chat messages)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from planner.datasets.blocks import Chunk, Tally, extrapolate, read_chunks
from planner.datasets.readers import Budget, Reader, Sample

MEND = "Each line must be one JSON object; blank lines are allowed"


def read(files: Sequence[Path], root: Path, budget: Budget) -> Sample:
    """Raises DataError when more than a small share of the lines is no JSON object."""
    chunks, tally = read_chunks(files, budget), Tally()
    records, blocks, counts = [], [], []
    for number, chunk in enumerate(chunks.chunks):
        before = len(records)
        for index, line in enumerate(chunk.lines):
            if not line.strip():
                continue
            record = parse(line, tally, chunk, index)
            if record is not None:
                records.append(record)
        blocks += [number] * (len(records) - before)
        counts.append(len(records) - before)
    tally.good = len(records)
    warnings = tally.warnings(MEND) + chunks.warnings
    samples, error = extrapolate(counts, chunks)
    return Sample(
        "jsonl",
        records,
        samples,
        chunks.whole,
        samples_relative_error=error,
        blocks=np.array(blocks, dtype=np.int64),
        warnings=warnings,
    )


def parse(line: bytes, tally: Tally, chunk: Chunk, index: int) -> dict[str, Any] | None:
    try:
        record = as_record(json.loads(line.decode("utf-8")))
    except UnicodeDecodeError as error:
        return tally.skip(chunk.place(index), f"not UTF-8: {error.reason}")
    except (ValueError, RecursionError) as error:
        return tally.skip(chunk.place(index), f"not JSON: {error}")
    if record is None:
        tally.skip(chunk.place(index), "the line holds no JSON object")
    return record


def as_record(value: Any) -> dict[str, Any] | None:
    """An object as it is, a string as its text, a list of objects as a chat; None for anything
    else."""
    if isinstance(value, dict):
        return value
    if isinstance(value, str):
        return {"text": value}
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return {"messages": value}
    return None


READER = Reader(
    "jsonl",
    (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz", ".jsonl.bz2", ".jsonl.xz", ".json.gz"),
    read,
    hint="a JSON object a line",
)
