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

MOST_BYTES = 2**30
HOW = "torch.cuda.memory._dump_snapshot(FILE) writes one, after _record_memory_history()"


def read_snapshot(path: Path) -> Mapping[str, Any]:
    """``segments`` and ``device_traces`` are lists of dictionaries. Raises QuestionError for a file
    that is not there, is too large, or is anything but such a snapshot."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise QuestionError(
                f"is larger than {MOST_BYTES >> 20} MiB",
                where=str(path),
                mend="Record fewer events: _record_memory_history(max_entries=100000)",
            )
        data = path.read_bytes()
    except FileNotFoundError:
        raise QuestionError("no such file", where=str(path), mend=HOW) from None
    except IsADirectoryError:
        raise QuestionError("is a folder, not a file", where=str(path)) from None
    except OSError as error:
        raise QuestionError(f"cannot be read: {error.strerror}", where=str(path)) from None
    if not data:
        raise QuestionError("the file is empty", where=str(path), mend=HOW)
    try:
        found = load(data)
    except (NotPlain, MemoryError) as error:
        raise QuestionError(
            f"is no snapshot of plain containers: {error}", where=str(path), mend=HOW
        ) from None
    return _checked(found, path)


def _checked(found: Any, path: Path) -> Mapping[str, Any]:
    if isinstance(found, dict):
        segments, traces = found.get("segments"), found.get("device_traces")
        if _are_dictionaries(segments) and isinstance(traces, list):
            if all(_are_dictionaries(trace) for trace in traces):
                return found
    raise QuestionError(
        "is a pickle without the segments and device_traces of a snapshot",
        where=str(path),
        mend=HOW,
    )


def _are_dictionaries(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(each, dict) for each in found)
