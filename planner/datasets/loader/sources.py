"""What a data loader reads: up to some hundred samples of a path, each as it lies on disk.

Sources pickle, so that the workers of a loader can be started in any way.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from planner.datasets.counting import parts_of
from planner.datasets.layout.shape import Layout
from planner.datasets.readers import Budget, registry

TEXT_BUDGET = Budget(whole_bytes=4 * 2**20, sample_bytes=4 * 2**20, blocks=8, media_files=8)


def version(library: str) -> str:
    """``Pillow 11.1``: the distribution's name and version as installed; the bare name where it is
    not."""
    try:
        return f"{library} {metadata.version(library)}"
    except metadata.PackageNotFoundError:
        return library


class Indexed(Protocol):
    """A list, or a Dataset of the datasets library."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class Source(Protocol):
    """``modality``: image, audio or text; ``library``: what reads it; ``samples``: of the whole
    data; ``notes``: what was decided."""

    @property
    def modality(self) -> str: ...

    @property
    def format(self) -> str: ...

    @property
    def library(self) -> str: ...

    @property
    def samples(self) -> int: ...

    @property
    def notes(self) -> tuple[str, ...]: ...

    @property
    def files(self) -> tuple[Path, ...]: ...

    def __len__(self) -> int:
        """Samples that can be read."""
        ...

    def read(self, index: int) -> Any:
        """The bytes of one medium; the texts, or the token ids, of one record."""
        ...

    def name(self, index: int) -> str:
        """Where a sample is, for messages."""
        ...


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
    notes: tuple[str, ...] = ()
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
    notes: tuple[str, ...] = ()
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
    returns (seconds, records). ``spoken``: each row as a chat template renders it, where one
    does."""

    format: str
    rows: Indexed
    layout: Layout
    samples: int
    files: tuple[Path, ...]
    parse: Parse
    notes: tuple[str, ...] = ()
    library: str = ""
    modality: str = "text"
    spoken: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def record(self, index: int) -> dict[str, Any]:
        """One row, parsed."""
        row = self.rows[index]
        return json.loads(row) if isinstance(row, str) else row

    def read(self, index: int) -> list[str] | list[int]:
        """The record's texts, one where it was rendered; its tokens where it is tokenized
        already."""
        record = self.record(index)
        if self.spoken:
            return [self.spoken[index]]
        return (
            list(record.get(self.layout.inputs[0]) or ())
            if self.layout.record_type == "ids"
            else parts_of(record, self.layout)
        )

    def name(self, index: int) -> str:
        return f"record {index + 1} of those read of {self.files[0].name}"
