"""A file of ``torch.cuda.memory._dump_snapshot`` as plain values.

Form (``torch/cuda/memory.py``): ``segments``, each with its blocks, as they stood at the end;
``device_traces``, a list of events for each device; ``allocator_settings``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planner.compare.snapshot.plain_pickle import NotPlain, load
from planner.errors import QuestionError
from planner.files import read_bytes

MOST_BYTES, MOST_EVENTS = 2**30, 5_000_000
_FIRST = b"\x80"  # PROTO
FEWER = "Record fewer events: _record_memory_history(max_entries=100000)"
HOW = "torch.cuda.memory._dump_snapshot(FILE) writes one, after _record_memory_history()"


def read_snapshot(path: Path) -> Mapping[str, Any]:
    """``segments`` and ``device_traces`` are lists of dictionaries. Raises QuestionError for a file
    that is not there, is too large, or is anything but such a snapshot."""
    data = _bytes(path)
    if not data:
        raise QuestionError("the file is empty", where=str(path), mend=HOW)
    if data[:1] != _FIRST:
        raise _refused("it is no pickle of protocol 2 or later", path)
    try:
        found = load(data)
    except (NotPlain, MemoryError) as error:
        raise _refused(str(error), path) from None
    return _checked(found, path)


def _refused(reason: str, path: Path) -> QuestionError:
    return QuestionError(f"is no snapshot of plain containers: {reason}", where=str(path), mend=HOW)


def _bytes(path: Path) -> bytes:
    """Of a regular file: a device or a pipe may have no end."""
    try:
        if path.is_dir():
            raise QuestionError("is a folder, not a file", where=str(path))
        if path.exists() and not path.is_file():
            raise QuestionError("is no regular file", where=str(path))
        if path.stat().st_size > MOST_BYTES:
            raise QuestionError(
                f"is larger than {MOST_BYTES >> 20} MiB", where=str(path), mend=FEWER
            )
        return read_bytes(path, MOST_BYTES)
    except FileNotFoundError:
        raise QuestionError("no such file", where=str(path), mend=HOW) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise QuestionError(f"cannot be read: {reason}", where=str(path)) from None


def _checked(found: Any, path: Path) -> Mapping[str, Any]:
    if isinstance(found, dict):
        segments, traces = found.get("segments"), found.get("device_traces")
        if _are_dictionaries(segments) and isinstance(traces, list):
            if all(_are_dictionaries(trace) for trace in traces):
                if sum(map(len, traces)) > MOST_EVENTS:
                    raise QuestionError(
                        f"holds more than {MOST_EVENTS:,} events", where=str(path), mend=FEWER
                    )
                return found
    raise QuestionError(
        "is a pickle without the segments and device_traces of a snapshot",
        where=str(path),
        mend=HOW,
    )


def _are_dictionaries(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(each, dict) for each in found)
