"""Answers that are finished, kept beside the output while a sweep runs: what is killed goes on
where it stood.

A gzip file of one member an answer, behind a first one that says what the answers stand on. A
member that was cut off is dropped. ``zcat`` shows it: a line a row, a line its document.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from planner.choose.sweep.asked import Asked
from planner.choose.sweep.work import Reply, unpacked
from planner.errors import FieldName, MachineError, QuestionError
from planner.question.files.project_file import PATHS
from planner.version import __version__

#: What a journal is called: the output's name and this.
SUFFIX = ".journal"
#: Bytes that are read at once.
PIECE = 1 << 20
#: How a gzip member is told to zlib, and how one begins.
GZIP, MAGIC = 31, b"\x1f\x8b"


class Journal:
    """A context manager: one sweep at a time writes to it. Raises QuestionError where another one
    does, or where the answers in it stand on something else than today's."""

    def __init__(self, output: Path, questions: Iterable[Asked], *, anew: bool = False) -> None:
        self.path = output.with_name(output.name + SUFFIX)
        self._stands_on = {"sweep": 1, "planner": __version__, "files": _stamps(questions)}
        self._anew = anew
        self._lock = FileLock(f"{self.path}.lock")
        self._places: dict[str, tuple[int, int]] = {}  # id → offset, length
        self._file: BinaryIO | None = None

    def __enter__(self) -> Journal:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise QuestionError(
                "another sweep writes to it", where=str(self.path), mend="Wait for it, or end it"
            ) from None
        except OSError as error:
            raise MachineError(
                f"cannot be locked: {error.strerror}", where=str(self.path)
            ) from None
        try:
            self._open()
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._release()

    def _release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        Path(self._lock.lock_file).unlink(missing_ok=True)
        self._lock.release()

    def _open(self) -> None:
        try:
            self._file = self.path.open("w+b" if self._anew else "a+b")
            end = 0 if self._anew else self._read()
            self._file.truncate(end)
            if end == 0:
                self._write(_member(self._stands_on))
        except OSError as error:
            raise MachineError(
                f"cannot be written: {error.strerror}", where=str(self.path)
            ) from None

    def _read(self) -> int:
        """What is there already; where the last whole member ends. Failures are asked again."""
        self._opened.seek(0)
        if not MAGIC.startswith(self._opened.read(len(MAGIC))):
            raise QuestionError("is no journal of a sweep", where=str(self.path))
        end = 0
        for number, (offset, packed) in enumerate(_members(self._opened)):
            if number == 0:
                self._check(packed)
            else:
                row, _ = unpacked(packed)
                if row["status"] != "failed":
                    self._places[row["id"]] = offset, len(packed)
            end = offset + len(packed)
        return end

    def _check(self, packed: bytes) -> None:
        try:
            found = json.loads(gzip.decompress(packed))
        except (ValueError, UnicodeDecodeError):
            found = None
        if not isinstance(found, dict) or "sweep" not in found:
            raise QuestionError("is no journal of a sweep", where=str(self.path))
        if found != self._stands_on:
            what = (
                f"planner {found.get('planner')}"
                if found.get("planner") != __version__
                else "files that have changed since"
            )
            raise QuestionError(
                f"the answers kept in it stand on {what}",
                where=str(self.path),
                mend=f"With {FieldName('anew')} all questions are answered again",
            )

    @property
    def _opened(self) -> BinaryIO:
        assert self._file is not None, "a journal is a context manager"
        return self._file

    def __contains__(self, id: str) -> bool:
        return id in self._places

    def __len__(self) -> int:
        return len(self._places)

    def add(self, reply: Reply) -> None:
        """At once in the file. Raises MachineError."""
        try:
            self._places[reply.id] = self._write(reply.packed), len(reply.packed)
        except OSError as error:
            raise MachineError(
                f"cannot be written: {error.strerror}", where=str(self.path)
            ) from None

    def _write(self, packed: bytes) -> int:
        offset = self._opened.seek(0, os.SEEK_END)
        self._opened.write(packed)
        self._opened.flush()
        return offset

    def of(self, id: str) -> tuple[dict[str, Any], str | None]:
        """(row, the document's text) of an answer that is there. Raises KeyError."""
        offset, length = self._places[id]
        self._opened.seek(offset)
        return unpacked(self._opened.read(length))

    def remove(self) -> None:
        """Once all of it is written elsewhere."""
        self.path.unlink(missing_ok=True)


def _member(value: dict[str, Any]) -> bytes:
    return gzip.compress(json.dumps(value).encode() + b"\n", 1, mtime=0)


def _members(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """(offset, bytes) of each whole member, up to the first that is not."""
    file.seek(0)
    offset, waiting = 0, b""
    while True:
        reader, used = zlib.decompressobj(GZIP), b""
        while not reader.eof:
            waiting = waiting or file.read(PIECE)
            if not waiting:
                return
            try:
                reader.decompress(waiting)
            except zlib.error:
                return
            used += waiting[: len(waiting) - len(reader.unused_data)]
            waiting = reader.unused_data
        yield offset, used
        offset += len(used)


def _stamps(questions: Iterable[Asked]) -> dict[str, list[int]]:
    """Size and time of change of each file that questions name: answers stand on what was in it."""
    named = {str(one.given[name]) for one in questions for name in PATHS if one.given.get(name)}
    found: dict[str, list[int]] = {}
    for name in sorted(named):
        try:
            state = Path(name).expanduser().stat()
        except (OSError, ValueError):
            continue  # a name of the catalogue
        found[name] = [state.st_size, state.st_mtime_ns]
    return found
