"""What can be saved of a damaged ledger: every run whose text still matches its checksum, wherever
in the file it lies.

Nothing of the damaged database's structure is trusted. Each page that still looks like a table leaf
is read on its own, in the file and in its write-ahead log, by the published format
(https://www.sqlite.org/fileformat2.html, sections 1.5 and 2.1; checked 2026-11). A run is taken
when its SHA-256 is right, so damage can lose a run but never change one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from planner.errors import MachineError, ProfileError
from planner.ledger.database import PAGE_BYTES, read_only
from planner.ledger.record import RunRecord
from planner.ledger.store import Ledger, digest_of
from planner.today import now

_LEAF = 0x0D
_LONGEST_CHAIN = 2**16
_COLUMNS = 9  # of the table of runs
_DIGEST, _RECORD = 7, 8


@dataclass(frozen=True)
class Rescue:
    """``lost`` is None where the file no longer says how many runs there were. ``kept`` is the
    damaged file's new name; None where the ledger was not damaged and nothing was done."""

    saved: int
    lost: int | None
    kept: Path | None


def rescue(path: Path) -> Rescue:
    """Put a sound ledger with all readable runs in the place of a damaged one, which is kept beside
    it. Raises ProfileError where no run can be read (nothing is then changed) or a newer planner
    wrote it, MachineError where the disk refuses."""
    if not path.is_file():
        raise ProfileError("there is no ledger", where=str(path))
    try:
        return Rescue(saved=_sound_runs(path), lost=0, kept=None)
    except ProfileError as error:
        if "newer planner" in error.what:
            raise
        trouble = error
    try:
        runs, known = carve(path)
        if not runs:
            raise ProfileError(
                f"no run can be read; the file was left as it is ({trouble.what})", where=str(path)
            ) from None
        kept = _replace(path, runs)
    except OSError as error:
        raise MachineError(
            f"the rescue failed: {error.strerror or error}; the damaged ledger is still there",
            where=str(path),
        ) from None
    return Rescue(
        saved=len(runs), lost=None if known is None else max(0, known - len(runs)), kept=kept
    )


def _sound_runs(path: Path) -> int:
    """How many runs a ledger holds, each of them read. Raises ProfileError where it is damaged."""
    read_only(path).close()
    with Ledger(path, create=False) as ledger:
        return sum(1 for _ in ledger.records())


def _replace(path: Path, runs: list[RunRecord]) -> Path:
    """At every moment the damaged file with its log, or the new one, stands at one of the two
    names."""
    new, kept = path.with_name(f".{path.name}.rescued"), _free_name(path)
    for leftover in (new, *_beside(new)):
        leftover.unlink(missing_ok=True)
    with Ledger(new) as ledger:
        ledger.append_new(iter(runs))
    _into_one_file(new)
    _copy(path, kept)
    # a log that stayed would be applied to the new file
    for old, target in zip(_beside(path), _beside(kept)):
        with contextlib.suppress(FileNotFoundError):
            os.replace(old, target)
    os.replace(new, path)
    return kept


def _copy(path: Path, kept: Path) -> None:
    try:
        os.link(path, kept)
    except OSError:  # a file system without links
        shutil.copy2(path, kept)


def _into_one_file(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _beside(path: Path) -> tuple[Path, Path]:
    return path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")


def _free_name(path: Path) -> Path:
    stem = f"{path.name}.damaged-{now():%Y%m%dT%H%M%SZ}"
    names = (
        path.with_name(stem if number == 0 else f"{stem}-{number}") for number in range(10_000)
    )
    return next(name for name in names if not name.exists())


# ---------------------------------------------------------------- reading pages


def carve(path: Path) -> tuple[list[RunRecord], int | None]:
    """The readable runs in the order they were written, and how many were ever written where that
    can still be read."""
    main = path.read_bytes()
    size = _page_size(main)
    logged = _log_pages(_beside(path)[0], size)
    pages = {
        number + 1: main[number * size : (number + 1) * size]
        for number in range(-(-len(main) // size))
    }
    newest = pages | dict(logged)
    found: dict[str, tuple[int, RunRecord]] = {}
    written = None
    for number, page in [*pages.items(), *logged]:
        for row_number, values in _rows(page, number, (newest, pages), size):
            # sqlite_sequence's row
            if values[:1] == [b"runs"] and len(values) == 2 and isinstance(values[1], int):
                written = max(written or 0, values[1])
            elif (run := _run(values)) is not None:
                found.setdefault(run.id, (row_number, run))
    return [
        run for _, run in sorted(found.values(), key=lambda item: (item[0], item[1].id))
    ], written


def _page_size(data: bytes) -> int:
    """As the header says, or where that is lost the size that ledgers are made with."""
    size = int.from_bytes(data[16:18], "big") if data.startswith(b"SQLite format 3\0") else 0
    size = 65536 if size == 1 else size
    return size if size >= 512 and size & (size - 1) == 0 else PAGE_BYTES


def _log_pages(path: Path, size: int) -> list[tuple[int, bytes]]:
    """(page number, page) of the frames in the write-ahead log, oldest first; those of the running
    log where its header is sound."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    frames = [
        (data[at : at + 24], data[at + 24 : at + 24 + size])
        for at in range(32, len(data) - 24 - size + 1, 24 + size)
    ]
    running = [frame for frame in frames if frame[0][8:16] == data[16:24]]
    return [(int.from_bytes(head[:4], "big"), page) for head, page in running or frames]


def _rows(
    page: bytes, number: int, sources: tuple[dict[int, bytes], ...], size: int
) -> Iterator[tuple[int, list[bytes | int | None]]]:
    """(row number, columns) of each cell of a table leaf that can be put together; a text is its
    bytes."""
    start = 100 if number == 1 else 0
    if len(page) < size or page[start] != _LEAF:
        return
    for index in range(min(int.from_bytes(page[start + 3 : start + 5], "big"), size // 4)):
        at = int.from_bytes(page[start + 8 + 2 * index : start + 10 + 2 * index], "big")
        tried: set[bytes] = set()
        # an overflowing text goes on in pages that may have a newer version in the log
        for source in sources:
            with contextlib.suppress(IndexError, ValueError, KeyError, struct.error):
                row, payload = _payload(page, at, source, size)
                if payload not in tried:
                    tried.add(payload)
                    yield row, _columns(payload)


def _payload(page: bytes, at: int, pages: dict[int, bytes], size: int) -> tuple[int, bytes]:
    length, at = _varint(page, at)
    row, at = _varint(page, at)
    most = size - 35
    if length <= most:
        return row, page[at : at + length]
    least = (size - 12) * 32 // 255 - 23
    local = least + (length - least) % (size - 4)
    local = local if local <= most else least
    parts, left = [page[at : at + local]], length - local
    following = int.from_bytes(page[at + local : at + local + 4], "big")
    for _ in range(_LONGEST_CHAIN):
        if left <= 0:
            return row, b"".join(parts)
        part = pages[following]
        parts.append(part[4 : 4 + min(left, size - 4)])
        left -= size - 4
        following = int.from_bytes(part[:4], "big")
    raise ValueError("a chain of pages without an end")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(8):
        byte = data[at + index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + index + 1
    return value << 8 | data[at + 8], at + 9


def _columns(payload: bytes) -> list[bytes | int | None]:
    """The columns of a row; a number with a fraction is None, as no column of ours has one."""
    head, at = _varint(payload, 0)
    kinds = []
    while at < head:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    if at != head or len(kinds) > _COLUMNS:
        raise ValueError("not a row of a ledger")
    columns: list[bytes | int | None] = []
    for kind in kinds:
        length = (
            (kind - 12) // 2
            if kind >= 12
            else {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 7: 8}.get(kind, 0)
        )
        part, at = payload[at : at + length], at + length
        if len(part) < length:
            raise ValueError("the row ends too early")
        columns.append(
            part
            if kind >= 12
            else int.from_bytes(part, "big", signed=True)
            if 1 <= kind <= 6
            else kind - 8
            if kind in (8, 9)
            else None
        )
    return columns


def _run(columns: list[bytes | int | None]) -> RunRecord | None:
    """The run in a row, where it is one and its checksum is right."""
    if len(columns) != _COLUMNS:
        return None
    record, digest = columns[_RECORD], columns[_DIGEST]
    if not isinstance(record, bytes) or not isinstance(digest, bytes):
        return None
    try:
        text = record.decode("utf-8")
        return RunRecord.from_json(text) if digest_of(text) == digest.decode("ascii") else None
    except (UnicodeDecodeError, ProfileError):
        return None
