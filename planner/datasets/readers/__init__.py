"""One reader a format. A module of this package with a ``READER`` is found by itself: adding a
format is adding a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from planner.registry import declared

#: Keys of a record that hold what was measured of a medium, not text: (width, height), seconds. No
#: column can be so named.
IMAGE, AUDIO = "\0image", "\0audio"


@dataclass(frozen=True, slots=True)
class Budget:
    """How much is read. Up to ``whole_bytes`` everything; beyond it ``sample_bytes`` in ``blocks``
    spread over the files."""

    whole_bytes: int = 32 * 2**20
    sample_bytes: int = 8 * 2**20
    blocks: int = 64
    media_files: int = 512
    longest_record_bytes: int = 32 * 2**20
    progress: Callable[[float], None] | None = None

    def report(self, share: float) -> None:
        if self.progress is not None:
            self.progress(min(1.0, share))


@dataclass(frozen=True)
class Sample:
    """What a reader hands over: ``records`` really read, of ``samples`` in all (an estimate with
    its relative error).

    ``blocks``: int64 [records], which block of the file a record came from; records of one block
    resemble each other, so the sampling error is taken between blocks. None: the records were drawn
    one by one.
    """

    format: str
    records: list[dict[str, Any]]
    samples: int
    whole: bool
    modality: str = "text"
    samples_relative_error: float = 0.0
    blocks: np.ndarray | None = None
    assumptions: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    # where the reader itself knows the labels (class folders, a typed column)
    classes: int | None = None
    # what belongs into an answer's first lines: which part of the files was taken
    said: tuple[str, ...] = ()
    # boxes or masks of each image, where annotations count them
    objects: Sequence[int] = ()
    # pictures inside of a record, their mean number, where records hold such
    images_per_sample: float | None = None


@dataclass(frozen=True, slots=True)
class Reader:
    """``read(files, root, budget) -> Sample``; ``claims(folder)`` returns the files of a folder
    that is of this format as a whole, or None. ``hint`` names the format in messages."""

    format: str
    suffixes: tuple[str, ...]
    read: Callable[[Sequence[Path], Path, Budget], Sample]
    claims: Callable[[Path], tuple[list[Path], tuple[str, ...]] | None] | None = None
    hint: str = field(default="")


@cache
def registry() -> tuple[Reader, ...]:
    """Every reader of this package, by format. Raises RuntimeError when two claim one suffix."""
    found: list[Reader] = declared(__name__, "READER")
    owners: dict[str, str] = {}
    for reader in found:
        for suffix in reader.suffixes:
            if owners.setdefault(suffix, reader.format) != reader.format:
                raise RuntimeError(f"{suffix} is claimed by {owners[suffix]} and {reader.format}")
    return tuple(sorted(found, key=lambda r: r.format))


def reader_for(file: Path) -> Reader | None:
    """The reader of a file's suffix (``.jsonl``, ``.jsonl.gz``), or None."""
    name = file.name.lower()
    hits = [(len(s), reader) for reader in registry() for s in reader.suffixes if name.endswith(s)]
    return max(hits, key=lambda hit: hit[0])[1] if hits else None


def supported() -> str:
    """For messages: every suffix there is a reader for."""
    return ", ".join(sorted(s for reader in registry() for s in reader.suffixes))
