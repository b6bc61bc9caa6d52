"""What a calibration measured, kept as it comes: a file of JSON lines that only grows.

Whatever ends a run (Ctrl-C, SIGKILL, a full disk) leaves every line that was written. A line cut
short is ignored, a damaged one skipped and counted, and the next run goes on from what is there.
One run at a time writes to a journal.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.calibrate.priors import prior
from planner.errors import FieldName, MachineError, QuestionError

#: A disk's own cache may hold this much of a run back when the power fails.
SYNC_SECONDS = 1.0
Record = dict[str, Any]
#: The record's type and what it names.
Identity = tuple[str, ...]


@dataclass(frozen=True)
class Contents:
    """The records of a journal in the order of writing, and how many lines could not be read."""

    records: tuple[Record, ...]
    damaged: int


def elsewhere() -> str:
    """What mends a place that cannot be written."""
    return f"Name a place that can be written with {FieldName('out')} FILE"


def journal_file(profile: Path) -> Path:
    """The journal of a profile: ``h200.json`` → ``h200.journal.jsonl`` in the same folder."""
    return profile.with_name(f"{profile.name.removesuffix('.json')}.journal.jsonl")


def read(path: Path) -> Contents:
    """All records of a journal; none where there is no file. Raises MachineError where the machine
    refuses to read it."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Contents((), 0)
    except OSError as error:
        raise _refused(path, "read", error) from error
    *lines, cut_short = data.split(b"\n")
    records = [_record(line) for line in lines if line.strip()]
    last = _record(cut_short)
    whole = [record for record in (*records, last) if record is not None]
    return Contents(tuple(whole), records.count(None))


def _record(line: bytes) -> Record | None:
    """The record of a line; None where it is damaged."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("record"), str) else None


@contextlib.contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file. Raises MachineError at once when another process holds it (``what`` names
    the thing), or when the folder cannot be written."""
    import filelock

    lock = filelock.FileLock(path, timeout=0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout:
        raise MachineError(
            f"another calibration of {what} is running",
            where=str(path),
            mend="Wait for it, or stop it",
        ) from None
    except NotImplementedError:
        raise MachineError(
            "this file system has no locks", where=str(path.parent), mend=elsewhere()
        ) from None
    except OSError as error:
        raise _refused(path, "written", error) from error
    try:
        yield
    finally:
        lock.release()


class Journal:
    """A journal open for writing, under its lock; a context manager. ``again`` starts a new one and
    renames the old.

    Raises MachineError on entry where the folder cannot be written or another run writes to it.
    """

    def __init__(self, path: Path, *, again: bool = False) -> None:
        self.path = path
        self._again = again
        self._file: int | None = None
        self._size = 0
        self._synced = 0.0
        self._held = contextlib.ExitStack()
        #: Where the journal before this one went, when there was one and it was not to be
        #: continued.
        self.renamed: Path | None = None

    def __enter__(self) -> Journal:
        if self.path.is_dir():
            raise QuestionError("is a folder, not a file", where=str(self.path))
        self._held.enter_context(
            locked(self.path.with_suffix(".lock"), f"this device into {self.path.parent}")
        )
        try:
            if self._again and self.path.exists():
                self.renamed = _set_aside(self.path)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            self._size = _mended(self._file)
        except OSError as error:
            self._held.close()
            raise _refused(self.path, "written", error) from error
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._file is not None:
                # what could be written is there; a last refusal changes nothing
                with contextlib.suppress(OSError):
                    os.fsync(self._file)
                os.close(self._file)
        finally:
            self._file = None
            self._held.close()

    def append(self, record: Record) -> None:
        """Write one record. Raises MachineError where the machine refuses; the journal then ends
        with the record before."""
        line = (
            json.dumps(_finite(record), ensure_ascii=False, allow_nan=False).encode(
                "utf-8", "replace"
            )
            + b"\n"
        )
        if self._file is None:
            raise ValueError("the journal is not open")
        try:
            self._write(self._file, line)
        except OSError as error:
            raise _refused(self.path, "written", error) from error

    def _write(self, file: int, line: bytes) -> None:
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(file, rest) :]
            if time.monotonic() - self._synced > SYNC_SECONDS:
                os.fsync(file)
                self._synced = time.monotonic()
        # a full disk, or Ctrl-C between two halves: no line may start inside another
        except BaseException:
            os.ftruncate(file, self._size)
            raise
        self._size += len(line)


def _mended(file: int) -> int:
    """The length of the journal after its end is whole: a last line that was cut short goes, one
    that lacks only its end gets it."""
    size = os.fstat(file).st_size
    data = os.pread(file, size, 0)
    tail = data[data.rfind(b"\n") + 1 :]
    if not tail:
        return size
    if _record(tail) is None:
        os.ftruncate(file, size - len(tail))
        return size - len(tail)
    os.write(file, b"\n")
    return size + 1


def _set_aside(path: Path) -> Path:
    """Rename an old journal to a name that is free, with the date of its last line."""
    date = time.strftime("%Y%m%d-%H%M%S", time.gmtime(path.stat().st_mtime))
    stem = path.name.removesuffix(".jsonl")
    names = (path.with_name(f"{stem}.{date}{'' if i == 0 else f'-{i}'}.jsonl") for i in range(1000))
    free = next(name for name in names if not name.exists())
    path.rename(free)
    return free


def _finite(value: Any) -> Any:
    """What is not a number is unknown: JSON has no word for it but null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _refused(path: Path, verb: str, error: OSError) -> MachineError:
    return MachineError(
        f"the journal cannot be {verb}: {error.strerror or error}",
        where=str(path),
        mend=elsewhere(),
    )


# ---- what of a journal counts


def pooled(records: Iterable[Record]) -> list[Record]:
    """Records for fitting: those of one operation that was measured more than once become one over
    all its samples, host costs and facts keep their last value, doubts are said once."""
    kept: dict[Identity, Record] = {}
    for record in records:
        identity = _identity(record)
        if identity is None:
            continue
        before = kept.get(identity)
        kept[identity] = (
            _merged(before, record)
            if before is not None and record["record"] == "operation"
            else record
        )
    return list(kept.values())


def _identity(record: Record) -> Identity | None:
    """Records with the same identity say the same thing; None for those that only the session
    itself reads."""
    record_type = record["record"]
    if record_type == "stage":
        return None
    if record_type == "trust":
        return record_type, "".join(c for c in str(record.get("what")) if not c.isdigit())
    names = IDENTIFYING.get(record_type, ())
    return record_type, *(str(record.get(name)) for name in names)


#: Type of a record → the fields that say what it is about.
IDENTIFYING = {
    "session": ("started", "date"),
    "operation": ("key",),
    "host": ("name",),
    "fact": ("name",),
    "reference": ("of",),
    "left_out": ("of", "key", "name"),
    "loader": ("modality", "stage", "per", "workers"),
}


def _merged(before: Record, after: Record) -> Record:
    """One operation measured twice: the median and the deciles over both visits' samples. Where
    they disagree the faster one counts alone: what else runs on a machine adds time and never takes
    any away."""
    if after.get("seconds") is None or before.get("seconds") is None:
        return before if after.get("seconds") is None else after
    faster, slower = sorted((before, after), key=lambda record: record["seconds"])
    if slower["seconds"] > prior("disagreeing_visits") * faster["seconds"]:
        return faster
    samples = sorted((*before.get("samples", ()), *after.get("samples", ())))
    if not samples:
        return after
    low, middle, high = (_quantile(samples, share) for share in (0.1, 0.5, 0.9))
    repeats = (before.get("repeats") or 0) + (after.get("repeats") or 0)
    joules = after.get("joules") if after.get("joules") is not None else before.get("joules")
    return {
        **after,
        "seconds": middle,
        "low": low,
        "high": high,
        "samples": samples,
        "repeats": repeats,
        "joules": joules,
    }


def _quantile(ordered: list[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
