"""A folder that ``datasets.Dataset.save_to_disk`` wrote: Arrow files, read with pyarrow alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from planner.datasets.readers import Budget, Reader, Sample
from planner.datasets.readers.parquet import RowBatches, collect
from planner.errors import DataError, MissingExtraError
from planner.files import loads, read_text


def claims(folder: Path) -> tuple[list[Path], tuple[str, ...]] | None:
    """The Arrow files of a saved dataset, and what has to be notes; None when the folder is no such
    thing. Raises DataError."""
    if (folder / "dataset_dict.json").is_file():
        splits = _json(folder / "dataset_dict.json").get("splits") or []
        if not splits:
            raise DataError("the saved dataset has no splits", where=str(folder))
        split = "train" if "train" in splits else splits[0]
        files, notes = claims(folder / split) or ([], ())
        if not files:
            raise DataError(
                f"the split {split!r} has no Arrow files",
                where=str(folder),
                mend="Save the dataset again",
            )
        others = [name for name in splits if name != split]
        return files, (
            f"the split {split!r} is trained on"
            + (f"; left out: {', '.join(others)}" if others else ""),
            *notes,
        )
    if not (folder / "state.json").is_file():
        return None
    names = [
        item["filename"]
        for item in _json(folder / "state.json").get("_data_files") or []
        if isinstance(item, dict) and "filename" in item
    ]
    files = [folder / name for name in names] or sorted(folder.glob("*.arrow"))
    missing = [f.name for f in files if not f.is_file()]
    if missing or not files:
        raise DataError(
            f"the saved dataset lacks {missing[0] if missing else 'its Arrow files'}",
            where=str(folder),
            mend="Save the dataset again",
        )
    return files, ()


def _json(file: Path) -> dict[str, Any]:
    try:
        value = loads(read_text(file))
    except ValueError as error:
        raise DataError(
            f"not JSON: {error}", where=str(file), mend="Save the dataset again"
        ) from error
    if not isinstance(value, dict):
        raise DataError("not a JSON object", where=str(file), mend="Save the dataset again")
    return value


def read(files: Sequence[Path], root: Path, budget: Budget) -> Sample:
    """Raises DataError for damaged files, MissingExtraError without pyarrow."""
    try:
        import pyarrow as pa
    except ImportError as error:
        raise MissingExtraError("pyarrow", "data", "Reading Arrow files") from error
    batches = []
    for file in files:
        try:
            batches += _record_batches(pa, file)
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"not a readable Arrow file: {str(error).splitlines()[0]}",
                where=str(file),
                mend="Save the dataset again",
            ) from error
    samples = sum(batch.num_rows for batch in batches)
    if samples == 0:
        raise DataError("the dataset has no rows: there is nothing to count", where=str(root))
    whole = sum(batch.nbytes for batch in batches) <= budget.whole_bytes
    return collect("arrow", [_slices(batch) for batch in batches], samples, whole, budget)


def _record_batches(pa: ModuleType, file: Path) -> list[Any]:
    """Memory-mapped, so nothing is read until a row is; both kinds of Arrow files."""
    source = pa.memory_map(str(file))
    try:
        return list(pa.ipc.open_stream(source))
    except pa.ArrowInvalid:
        table = pa.ipc.open_file(pa.memory_map(str(file)))
        return [table.get_batch(i) for i in range(table.num_record_batches)]


def _slices(batch: Any) -> RowBatches:
    def slices() -> Iterator[tuple[list[dict[str, Any]], int]]:
        for start in range(0, batch.num_rows, 64):
            part = batch.slice(start, 64)
            yield part.to_pylist(), part.nbytes

    return slices


READER = Reader("arrow", (".arrow",), read, claims, hint="a folder saved by datasets.save_to_disk")
