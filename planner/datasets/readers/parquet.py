"""Parquet: the number of rows stands in the files' own metadata; rows are read from row groups
spread over the files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from planner.datasets.blocks import Tally
from planner.datasets.media import BrokenMediumError, replace_embedded
from planner.datasets.readers import Budget, Reader, Sample
from planner.errors import DataError, MissingExtraError

BATCH_ROWS = 256
#: A column that grows by more when it is unpacked repeats itself: its rows are taken one by one.
SWOLLEN = 100
PIECE_BYTES = 2**22
NUMBER_BYTES = 8
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
            with pq.ParquetFile(file, read_dictionary=_texts(file)) as table:
                rows = 1 if _swells(table.metadata.row_group(group)) else BATCH_ROWS
                for batch in table.iter_batches(rows, row_groups=[group]):
                    yield from _pieces(batch)
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"row group {group} cannot be read: {_line(error)}", where=str(file), mend=DAMAGED
            ) from error

    return batches


def _texts(file: Path) -> list[str]:
    """Columns whose values stay references to the values that differ: a few bytes of a file may
    repeat one large value in every row."""
    import pyarrow.parquet as pq

    columns = pq.read_metadata(file).schema
    return [
        columns.column(i).path
        for i in range(len(columns))
        if columns.column(i).physical_type == "BYTE_ARRAY" and "." not in columns.column(i).path
    ]


def _swells(group: Any) -> bool:
    """Whether a column of a row group is many times its size in the file."""
    columns = [group.column(i) for i in range(group.num_columns)]
    return any(c.total_uncompressed_size > SWOLLEN * c.total_compressed_size for c in columns)


def _pieces(batch: Any) -> Iterator[tuple[list[dict[str, Any]], int]]:
    """Rows as dicts with the bytes of their texts, few at a time where they are large."""
    start, rows = 0, 1
    while start < len(batch):
        made = batch.slice(start, rows).to_pylist()
        size = sum(_size(value) for row in made for value in row.values())
        yield made, size
        start += len(made)
        rows = max(1, min(BATCH_ROWS, PIECE_BYTES * len(made) // max(1, size)))


def _size(value: Any) -> int:
    """Bytes or letters of a value, about."""
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    return sum(map(_size, value)) if isinstance(value, list) else NUMBER_BYTES


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
    # small files hold what they hold once it is unpacked
    left = budget.whole_bytes if whole else math.inf
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
            left -= size
            if left < 0 or not whole and read_bytes >= share:
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
