"""A path becomes a source: its files, the members of its shards, the cells of its table or its
records."""

from __future__ import annotations

import importlib.util
import json
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from planner.datasets.files import locate
from planner.datasets.layout.find import find_layout
from planner.datasets.layout.prepare import prepare
from planner.datasets.loader.sources import (
    TEXT_BUDGET,
    Indexed,
    Parse,
    Piece,
    Pieces,
    Rows,
    Source,
    Texts,
    version,
)
from planner.datasets.media import modality_of, suffix_of
from planner.datasets.readers import AUDIO, IMAGE, Reader
from planner.errors import DataError, MissingExtraError

#: Samples that are looked at; throughput is a mean, which a few hundred tell to some percent.
MOST_ITEMS = 256
#: Bytes of a table that are held while it is measured.
TABLE_BYTES = 64 * 2**20
READERS_LIBRARY = {"parquet": "pyarrow", "arrow": "pyarrow"}
MEDIA_FOLDERS = {"image_folder": "image", "audio_folder": "audio"}


@dataclass(frozen=True)
class Located:
    """The files of one format at a path, and the reader of that format."""

    reader: Reader
    files: Sequence[Path]
    path: Path
    notes: tuple[str, ...]


def open_source(
    path: str | Path,
    *,
    task: str | None = None,
    text_columns: Sequence[str] | None = None,
    most: int = MOST_ITEMS,
) -> Source:
    """The samples of a file or folder, at most ``most``, spread evenly. Raises DataError,
    MissingExtraError."""
    path = Path(path).expanduser()
    try:
        reader, files, notes = locate(path)
        located = Located(reader, files, path, notes)
        opener = OPENERS.get(reader.format)
        media_found = opener(located, most) if opener is not None else None
        if media_found is not None:
            return media_found
        return _texts(located, task, text_columns, most)
    except PermissionError as error:
        raise DataError(
            "no permission to read",
            where=str(error.filename or path),
            mend="Change its permissions or choose another path",
        ) from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", where=str(path)) from error


def spread(count: int, most: int) -> list[int]:
    """Up to ``most`` indices below ``count``, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(int)).tolist()


def _folder(located: Located, most: int) -> Pieces:
    files = located.files
    pieces = tuple(
        Piece(file=files[i], offset=0, size=None, suffix=files[i].suffix.lower())
        for i in spread(len(files), most)
    )
    return Pieces(
        modality=MEDIA_FOLDERS[located.reader.format],
        format=located.reader.format,
        pieces=pieces,
        samples=len(files),
        notes=located.notes,
    )


def _shards(located: Located, most: int) -> Pieces | None:
    """Members that are media of one modality, from the first shards; None where there are none."""
    pieces: list[Piece] = []
    for file in located.files:
        pieces += _members(file, most - len(pieces))
        if len(pieces) >= most:
            break
    found = [modality_of(piece.suffix) for piece in pieces]
    modality = next((name for name in ("audio", "image") if name in found), None)
    chosen = tuple(piece for piece, own in zip(pieces, found) if own == modality)
    if modality is None:
        return None
    packed = any(piece.blob is not None for piece in chosen)
    note = (
        (
            "members of a compressed shard are taken from memory: unpacking the shard is not "
            "in the figure",
        )
        if packed
        else ()
    )
    return Pieces(
        modality=modality,
        format=located.reader.format,
        pieces=chosen,
        samples=len(chosen),
        notes=located.notes + note,
        library="tar members",
    )


def _members(file: Path, most: int) -> list[Piece]:
    found: list[Piece] = []
    try:
        with tarfile.open(file) as shard:
            packed = not file.name.lower().endswith(".tar")
            for member in shard:
                suffix = Path(member.name).suffix.lower()
                if member.isfile() and modality_of(suffix) is not None:
                    content = shard.extractfile(member) if packed else None
                    blob = content.read() if content is not None else None
                    found.append(Piece(file, member.offset_data, member.size, suffix, blob))
                if len(found) >= most:
                    break
    except (tarfile.TarError, EOFError) as error:
        raise DataError(
            f"the tar cannot be read: {error}", where=str(file), mend="Fetch or write it again"
        ) from error
    return found


def _rows(located: Located, most: int) -> Rows | None:
    """A table whose cells hold media; None where they hold none."""
    try:
        import pyarrow as pa
    except ImportError as error:
        raise MissingExtraError("pyarrow", "data", f"Reading {located.reader.hint}") from error
    try:
        table, samples = _table(located, most)
    except pa.ArrowException as error:
        raise DataError(
            f"the table cannot be read: {str(error).splitlines()[0]}",
            where=str(located.files[0]),
            mend="The file is damaged or still being written: write it again",
        ) from error
    first = table.slice(0, 1).to_pylist()
    found = next(
        (
            (name, modality)
            for name, cell in (first[0] if first else {}).items()
            if (modality := _cell_modality(cell))
        ),
        None,
    )
    if found is None:
        return None
    column, modality = found
    # Without its metadata the library hands the bytes over as they are: decoding is a stage of its
    # own.
    table = table.replace_schema_metadata(None)
    library = version("pyarrow")
    if importlib.util.find_spec("datasets") is not None:
        from datasets import Dataset
        from datasets.table import InMemoryTable

        table, library = Dataset(InMemoryTable(table)), version("datasets")
    return Rows(
        modality=modality,
        format=located.reader.format,
        table=table,
        column=column,
        samples=samples,
        files=tuple(located.files),
        notes=located.notes,
        library=library,
    )


def _cell_modality(cell: Any) -> str | None:
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    return modality_of(suffix_of(data[:16]) or "") if isinstance(data, bytes) else None


def _table(located: Located, most: int) -> tuple[Any, int]:
    """(pyarrow.Table of up to ``most`` rows of the first files, rows in all of the files)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = located.files
    if located.reader.format == "arrow":
        tables = [_mapped(pa, file) for file in files]
        whole = pa.concat_tables(tables)
        return whole.slice(0, most), whole.num_rows
    batches, rows, size = [], 0, 0
    for file in files:
        with pq.ParquetFile(file) as table:
            for batch in table.iter_batches(16):
                batches.append(batch)
                rows, size = rows + batch.num_rows, size + batch.nbytes
                if rows >= most or size >= TABLE_BYTES:
                    break
        if rows >= most or size >= TABLE_BYTES:
            break
    if not batches:
        raise DataError("the table has no rows: there is nothing to read", where=str(files[0]))
    return pa.Table.from_batches(batches), sum(pq.read_metadata(file).num_rows for file in files)


def _mapped(pa: ModuleType, file: Path) -> Any:
    try:
        return pa.ipc.open_stream(pa.memory_map(str(file))).read_all()
    except pa.ArrowInvalid:
        return pa.ipc.open_file(pa.memory_map(str(file))).read_all()


def _texts(
    located: Located, task: str | None, text_columns: Sequence[str] | None, most: int
) -> Texts:
    reader, path, files = located.reader, located.path, tuple(located.files)
    root = path if path.is_dir() else path.parent
    sample = reader.read(files, root, TEXT_BUDGET)
    if not sample.records:
        raise DataError("there is no record to read", where=str(path))
    records = prepare(sample.records, task, text_columns or ()).records
    layout = find_layout(records, task, text_columns, str(path))
    if layout.record_type == "none" or any(key in records[0] for key in (IMAGE, AUDIO)):
        raise DataError("no column of text and no medium that can be decoded", where=str(path))
    rows, library = _as_rows([records[i] for i in spread(len(records), most)])
    parser = READERS_LIBRARY.get(reader.format)
    parser = version(parser) if parser is not None else f"{reader.format} reader"
    return Texts(
        format=reader.format,
        rows=rows,
        layout=layout,
        samples=sample.samples,
        files=files,
        parse=Parse(format=reader.format, library=parser, files=files, root=root),
        notes=(*located.notes, *sample.warnings),
        library=library,
    )


def _as_rows(records: list[dict[str, Any]]) -> tuple[Indexed, str]:
    """(rows, what fetches them): a Dataset of the datasets library, or JSON strings."""
    as_json = [json.dumps(record, default=str) for record in records], "json"
    if importlib.util.find_spec("datasets") is None:
        return as_json
    import pyarrow as pa
    from datasets import Dataset
    from datasets.table import InMemoryTable

    names = dict.fromkeys(name for record in records for name in record)
    try:
        table = pa.Table.from_pylist(
            [{name: record.get(name) for name in names} for record in records]
        )
    except (pa.ArrowException, TypeError):  # records whose cells have no common type
        return as_json
    return Dataset(InMemoryTable(table)), version("datasets")


#: What opens the media of a format; a format without one, and tables and shards in which no medium
#: is found, hold texts.
OPENERS: dict[str, Callable[[Located, int], Pieces | Rows | None]] = {
    **dict.fromkeys(MEDIA_FOLDERS, _folder),
    "webdataset": _shards,
    "parquet": _rows,
    "arrow": _rows,
}
