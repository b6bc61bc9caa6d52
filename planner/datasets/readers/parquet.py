"""Parquet: the number of rows stands in the files' own metadata; rows are read from row groups
spread over the files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from planner.datasets.blocks import Tally
from planner.datasets.media import BrokenMediumError, replace_embedded
from planner.datasets.readers import Budget, Reader, Sample
from planner.errors import DataError, MissingExtraError

BATCH_ROWS = 256
#: Yields rows and their bytes; nothing is opened before it is called.
RowBatches = Callable[[], Iterator[tuple[list[dict[str, Any]], int]]]
DAMAGED = "The file is damaged or still being written: write it again"


def read(files: Sequence[Path], root: Path, budget: Budget) -> Sample:
    """Raises DataError for a damaged file, MissingExtraError without pyarrow."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError("pyarrow", "data", "Reading Parquet") from error
    groups = []  # (file, row group, rows, bytes)
    for file in files:
        try:
            metadata = pq.read_metadata(file)
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"not a readable Parquet file: {_line(error)}", where=str(file), mend=DAMAGED
            ) from error
        groups += [
            (file, g, metadata.row_group(g).num_rows, metadata.row_group(g).total_byte_size)
            for g in range(metadata.num_row_groups)
        ]
    samples = sum(rows for *_, rows, _ in groups)
    if samples == 0:
        raise DataError("the table has no rows: there is nothing to count", where=str(files[0]))
    whole = sum(size for *_, size in groups) <= budget.whole_bytes
    return collect(
        "parquet",
        [_batches(file, group, whole) for file, group, *_ in groups],
        samples,
        whole,
        budget,
    )


def _line(error: Exception) -> str:
    return str(error).split("\n")[0]


def _batches(file: Path, group: int, whole: bool) -> RowBatches:
    """A function that yields (rows as dicts, bytes) of a row group: opened only when its turn
    comes."""

    def batches() -> Iterator[tuple[list[dict[str, Any]], int]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(file) as table:
                for batch in table.iter_batches(BATCH_ROWS, row_groups=[group]):
                    yield batch.to_pylist(), batch.nbytes
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"row group {group} cannot be read: {_line(error)}", where=str(file), mend=DAMAGED
            ) from error

    return batches


def collect(
    format: str,
    groups: Sequence[RowBatches],
    samples: int,
    whole: bool,
    budget: Budget,
    assumptions: tuple[str, ...] = (),
) -> Sample:
    """Everything, or a share of the byte budget from each of up to ``blocks`` groups spread over
    the table.

    ``groups``: functions that yield (rows as dicts, bytes). Media inside of cells are measured and
    dropped.
    """
    chosen = (
        range(len(groups))
        if whole
        else np.unique(np.linspace(0, len(groups) - 1, min(len(groups), budget.blocks)).astype(int))
    )
    share = budget.sample_bytes / max(1, len(chosen))
    records, blocks, tally = [], [], Tally()
    for number, index in enumerate(chosen):
        read_bytes = 0
        for rows, size in groups[index]():
            for row in rows:
                try:
                    records.append(replace_embedded(row))
                    blocks.append(number)
                except BrokenMediumError as error:
                    tally.skip(
                        f"{format} row {len(records) + tally.bad + 1} of those read", str(error)
                    )
            read_bytes += size
            if not whole and read_bytes >= share:
                break
        budget.report((number + 1) / len(chosen))
    tally.good = len(records)
    warnings = tally.warnings("Write the broken media again")
    return Sample(
        format,
        records,
        samples,
        len(records) == samples,
        blocks=np.array(blocks, dtype=np.int64),
        assumptions=assumptions,
        warnings=warnings,
    )


READER = Reader("parquet", (".parquet", ".pq"), read, hint="a Parquet table")
