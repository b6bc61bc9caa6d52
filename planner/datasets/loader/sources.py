"""What a data loader reads: up to some hundred samples of a path, each as it lies on disk.

A source has ``modality`` image | audio | text, ``format``, ``library`` (what reads it), ``said``
(what was decided), ``files``, ``len(source)`` and ``read(index)``: the bytes of one medium, or the
texts of one record. Sources pickle, so that the workers of a loader can be started in any way.
"""

from __future__ import annotations

import importlib.util
import json
import os
import tarfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from planner.datasets import media
from planner.datasets.columns import Layout, find_layout
from planner.datasets.counting import parts_of
from planner.datasets.files import locate
from planner.datasets.readers import AUDIO, IMAGE, Budget, Reader, registry
from planner.errors import DataError, MissingExtraError

#: Samples that are looked at; throughput is a mean, which a few hundred tell to some percent.
MOST_ITEMS = 256
#: Bytes of a table that are held while it is measured.
TABLE_BYTES = 64 * 2**20
TEXT_BUDGET = Budget(whole_bytes=4 * 2**20, sample_bytes=4 * 2**20, blocks=8, media_files=8)
READERS_LIBRARY = {"parquet": "pyarrow", "arrow": "pyarrow"}


def version(library: str) -> str:
    """``Pillow 11.1``: the distribution's name and version as installed; the bare name where it is
    not."""
    try:
        return f"{library} {metadata.version(library)}"
    except metadata.PackageNotFoundError:
        return library


@dataclass(frozen=True)
class Piece:
    """A stretch of a file; ``blob`` where it cannot be read on its own (a compressed shard)."""

    file: Path
    offset: int
    size: int | None
    suffix: str
    blob: bytes | None = None

    def read(self) -> bytes:
        if self.blob is not None:
            return self.blob
        with self.file.open("rb") as handle:
            if self.offset:
                handle.seek(self.offset)
            return handle.read() if self.size is None else handle.read(self.size)


@dataclass(frozen=True)
class Pieces:
    """Media that are files, or members of shards."""

    modality: str
    format: str
    pieces: tuple[Piece, ...]
    samples: int
    said: tuple[str, ...] = ()
    library: str = "plain files"

    def __len__(self) -> int:
        return len(self.pieces)

    def read(self, index: int) -> bytes:
        return self.pieces[index].read()

    def name(self, index: int) -> str:
        return str(self.pieces[index].file)

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(piece.file for piece in self.pieces))


@dataclass(frozen=True)
class Rows:
    """Media inside of the cells of a table, fetched row by row as a training loop does: by
    datasets, else by pyarrow."""

    modality: str
    format: str
    table: Any
    column: str
    samples: int
    files: tuple[Path, ...]
    said: tuple[str, ...] = ()
    library: str = ""

    def __len__(self) -> int:
        return len(self.table)

    def read(self, index: int) -> bytes:
        row = (
            self.table[index]
            if self.library.startswith("datasets")
            else self.table.slice(index, 1).to_pylist()[0]
        )
        cell = row[self.column]
        return cell["bytes"] if isinstance(cell, dict) else cell

    def name(self, index: int) -> str:
        return f"row {index + 1} of {self.files[0].name}"


@dataclass(frozen=True)
class Parse:
    """Reads and parses a part of the files with the reader of their format, which ``library`` does
    the work of."""

    format: str
    library: str
    files: tuple[Path, ...]
    root: Path

    def __call__(self) -> tuple[float, int]:
        reader = next(reader for reader in registry() if reader.format == self.format)
        start = time.perf_counter()
        sample = reader.read(self.files, self.root, TEXT_BUDGET)
        return time.perf_counter() - start, len(sample.records)


@dataclass(frozen=True)
class Texts:
    """Records as a training loop holds them once they are parsed: rows of a datasets.Dataset (JSON
    strings where that cannot hold them). ``parse`` reads and parses a part of the files again and
    returns (seconds, records)."""

    format: str
    rows: Sequence[Any]
    layout: Layout
    samples: int
    files: tuple[Path, ...]
    parse: Parse
    said: tuple[str, ...] = ()
    library: str = ""
    modality: str = "text"

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, index: int) -> list[str] | list[int]:
        """The record's texts; its tokens where it is tokenized already."""
        row = self.rows[index]
        record = json.loads(row) if isinstance(row, str) else row
        return (
            list(record.get(self.layout.inputs[0]) or ())
            if self.layout.kind == "ids"
            else parts_of(record, self.layout)
        )

    def name(self, index: int) -> str:
        return f"record {index + 1} of those read of {self.files[0].name}"


def open_source(
    path: str | Path,
    *,
    task: str | None = None,
    text_columns: Sequence[str] | None = None,
    most: int = MOST_ITEMS,
) -> Pieces | Rows | Texts:
    """The samples of a file or folder, at most ``most``, spread evenly. Raises DataError,
    MissingExtraError."""
    path = Path(path).expanduser()
    try:
        reader, files, said = locate(path)
        if reader.format in ("image_folder", "audio_folder"):
            return _files(reader, files, said, most)
        if reader.format == "webdataset":
            shards = _shards(files, said, most)
            return (
                shards
                if shards is not None
                else _texts(reader, files, path, said, task, text_columns, most)
            )
        if reader.format in ("parquet", "arrow"):
            rows = _rows(reader, files, said, most)
            if rows is not None:
                return rows
        return _texts(reader, files, path, said, task, text_columns, most)
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


def _files(reader: Reader, files: Sequence[Path], said: tuple[str, ...], most: int) -> Pieces:
    pieces = tuple(
        Piece(files[i], 0, None, files[i].suffix.lower()) for i in spread(len(files), most)
    )
    return Pieces(
        "image" if reader.format == "image_folder" else "audio",
        reader.format,
        pieces,
        len(files),
        said,
    )


def _shards(files: Sequence[Path], said: tuple[str, ...], most: int) -> Pieces | None:
    """Members that are media of one kind, from the first shards; None where there are none."""
    pieces: list[Piece] = []
    for file in files:
        pieces += _members(file, most - len(pieces))
        if len(pieces) >= most:
            break
    kinds = [_kind(piece.suffix) for piece in pieces]
    modality = "audio" if "audio" in kinds else "image" if "image" in kinds else None
    chosen = tuple(piece for piece, kind in zip(pieces, kinds) if kind == modality)
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
    return Pieces(modality, "webdataset", chosen, len(chosen), said + note, "tar members")


def _members(file: Path, most: int) -> list[Piece]:
    found: list[Piece] = []
    try:
        with tarfile.open(file) as shard:
            packed = not file.name.lower().endswith(".tar")
            for member in shard:
                suffix = Path(member.name).suffix.lower()
                if member.isfile() and _kind(suffix) is not None:
                    blob = shard.extractfile(member).read() if packed else None
                    found.append(Piece(file, member.offset_data, member.size, suffix, blob))
                if len(found) >= most:
                    break
    except (tarfile.TarError, EOFError) as error:
        raise DataError(
            f"the tar cannot be read: {error}", where=str(file), mend="Fetch or write it again"
        ) from error
    return found


def _kind(suffix: str) -> str | None:
    return (
        "image"
        if suffix in media.IMAGE_SUFFIXES
        else "audio"
        if suffix in media.AUDIO_SUFFIXES
        else None
    )


def _rows(reader: Reader, files: Sequence[Path], said: tuple[str, ...], most: int) -> Rows | None:
    """A table whose cells hold media; None where they hold none."""
    try:
        import pyarrow as pa
    except ImportError as error:
        raise MissingExtraError("pyarrow", "data", f"Reading {reader.hint}") from error
    try:
        table, samples = _table(reader.format, files, most)
    except pa.ArrowException as error:
        raise DataError(
            f"the table cannot be read: {str(error).splitlines()[0]}",
            where=str(files[0]),
            mend="The file is damaged or still being written: write it again",
        ) from error
    first = table.slice(0, 1).to_pylist()
    found = next(
        (
            (name, kind)
            for name, cell in (first[0] if first else {}).items()
            if (kind := _medium(cell))
        ),
        None,
    )
    if found is None:
        return None
    # Without its metadata the library hands the bytes over as they are: decoding is a stage of its
    # own.
    table = table.replace_schema_metadata(None)
    library = version("pyarrow")
    if importlib.util.find_spec("datasets") is not None:
        from datasets import Dataset
        from datasets.table import InMemoryTable

        table, library = Dataset(InMemoryTable(table)), version("datasets")
    return Rows(found[1], reader.format, table, found[0], samples, tuple(files), said, library)


def _medium(cell: Any) -> str | None:
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    return _kind(media.kind_of(data[:16]) or "") if isinstance(data, bytes) else None


def _table(format: str, files: Sequence[Path], most: int):
    """(pyarrow.Table of up to ``most`` rows of the first files, rows in all of the files)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if format == "arrow":
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


def _mapped(pa, file: Path):
    try:
        return pa.ipc.open_stream(pa.memory_map(str(file))).read_all()
    except pa.ArrowInvalid:
        return pa.ipc.open_file(pa.memory_map(str(file))).read_all()


def _texts(
    reader: Reader,
    files: Sequence[Path],
    path: Path,
    said: tuple[str, ...],
    task: str | None,
    text_columns: Sequence[str] | None,
    most: int,
) -> Texts:
    root = path if path.is_dir() else path.parent
    sample = reader.read(files, root, TEXT_BUDGET)
    if not sample.records:
        raise DataError("there is no record to read", where=str(path))
    layout = find_layout(sample.records, task, text_columns, str(path))
    if layout.kind == "none" or any(key in sample.records[0] for key in (IMAGE, AUDIO)):
        raise DataError("no column of text and no medium that can be decoded", where=str(path))
    rows, library = _as_rows([sample.records[i] for i in spread(len(sample.records), most)])
    parser = (
        version(READERS_LIBRARY[reader.format])
        if reader.format in READERS_LIBRARY
        else f"{reader.format} reader"
    )
    return Texts(
        reader.format,
        rows,
        layout,
        sample.samples,
        tuple(files),
        Parse(reader.format, parser, tuple(files), root),
        (*said, *sample.warnings),
        library,
    )


def _as_rows(records: list[dict[str, Any]]) -> tuple[Sequence[Any], str]:
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


def forget_pages(files: Sequence[Path]) -> bool:
    """Ask the system to drop these files from its page cache; False where it has no such call.
    Needs no rights: only clean pages that no one maps go (posix_fadvise(2), POSIX_FADV_DONTNEED),
    so it is a request, not a certainty."""
    if not hasattr(os, "posix_fadvise"):
        return False
    for file in files:
        try:
            handle = os.open(file, os.O_RDONLY)
        except OSError:
            return False
        try:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        except OSError:
            return False
        finally:
            os.close(handle)
    return True
