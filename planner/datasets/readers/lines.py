"""JSON values, one a line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from planner.datasets.blocks import Chunk, Tally, extrapolate, read_chunks
from planner.datasets.readers import Budget, Sample
from planner.datasets.readers.json_document import Record, as_record
from planner.files import loads

MEND = "Each line must be one JSON object; blank lines are allowed"


def read_lines(format: str, files: Sequence[Path], budget: Budget) -> Sample:
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
        format,
        records,
        samples,
        chunks.whole,
        samples_relative_error=error,
        blocks=np.array(blocks, dtype=np.int64),
        warnings=warnings,
    )


def parse(line: bytes, tally: Tally, chunk: Chunk, index: int) -> Record | None:
    """The record of one line; None where it holds none, which is tallied."""
    try:
        record = as_record(loads(line.decode("utf-8")))
    except UnicodeDecodeError as error:
        return tally.skip(chunk.place(index), f"not UTF-8: {error.reason}")
    except ValueError as error:
        return tally.skip(chunk.place(index), f"not JSON: {error}")
    if record is None:
        tally.skip(chunk.place(index), "the line holds no JSON object")
    return record
