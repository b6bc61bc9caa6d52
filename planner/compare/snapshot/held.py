"""What a recorded allocator held: its peaks, and what was alive at the fullest moment.

A snapshot holds the state at its end and the events before, of which the oldest may be gone. So
bytes are counted back from the end: what is alive at the end less all that the events added.
Events say what was asked for; the allocator takes a multiple of 512 bytes
(``CUDACachingAllocator.cpp``, ``kMinBlockSize``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from planner.compare.snapshot.reading import HOW
from planner.errors import FieldName, QuestionError

ROUND = 512
ALLOC, REQUESTED, COMPLETED = "alloc", "free_requested", "free_completed"
_RESERVES = {"segment_alloc": 1, "segment_map": 1, "segment_free": -1, "segment_unmap": -1}
#: Actions of events that take or give back bytes.
_SIZED = {ALLOC, REQUESTED, COMPLETED, *_RESERVES}
Event = Mapping[str, Any]
#: Where a block was taken, for what no event tells.
BEFORE = "before the recording"


@dataclass(frozen=True)
class Block:
    """``origin``: forward, backward, optimizer, or before the recording, by the stack that took it;
    ``place``: its innermost line outside torch."""

    bytes: int
    origin: str
    place: str


@dataclass(frozen=True)
class Held:
    """``live``: the blocks at the peak of what was allocated. ``segments``: their number at the
    end, with the bytes reserved and alive then. ``is_whole``: whether the events begin with nothing
    alive."""

    device: int
    peak_allocated_bytes: int
    peak_reserved_bytes: int
    end_allocated_bytes: int
    end_reserved_bytes: int
    segments: int
    largest_segment_bytes: int
    events: int
    ran_out: int
    is_whole: bool
    has_stacks: bool
    live: tuple[Block, ...] = field(repr=False)

    @property
    def reserved_at_peak_unused_bytes(self) -> int:
        """What was reserved at most and not allocated at most."""
        return max(0, self.peak_reserved_bytes - self.peak_allocated_bytes)

    def by_origin(self) -> dict[str, int]:
        return _summed((block.origin, block.bytes) for block in self.live)

    def by_place(self) -> dict[str, int]:
        return _summed((block.place, block.bytes) for block in self.live)


def _summed(parts: Iterable[tuple[str, int]]) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for name, size in parts:
        found[name] += size
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def held(snapshot: Mapping[str, Any], path: Path, device: int | None = None) -> Held:
    """Raises QuestionError where nothing was recorded, or of several devices and none is named."""
    index = _device(snapshot, path, device)
    segments = [s for s in snapshot["segments"] if _whole(s.get("device")) == index]
    traces = snapshot["device_traces"]
    events = traces[index] if index < len(traces) else []
    if not segments and not events:
        raise QuestionError(f"nothing was recorded of cuda:{index}", where=str(path))
    _check_sizes(segments, events, path)
    end = list(_blocks(segments))
    reserved = sum(_whole(s.get("total_size")) for s in segments)
    allocated = sum(size for _, size, _ in end)
    peak, place, least = _fullest(allocated, _changes(events))
    reserved_peak, _, _ = _fullest(reserved, _reservations(events))
    return Held(
        device=index,
        peak_allocated_bytes=peak,
        peak_reserved_bytes=reserved_peak,
        end_allocated_bytes=allocated,
        end_reserved_bytes=reserved,
        segments=len(segments),
        largest_segment_bytes=max((_whole(s.get("total_size")) for s in segments), default=0),
        events=len(events),
        ran_out=sum(event.get("action") == "oom" for event in events),
        is_whole=least <= 0,
        has_stacks=any(event.get("frames") for event in events),
        live=tuple(_live(events, end, place)),
    )


def _device(snapshot: Mapping[str, Any], path: Path, wanted: int | None) -> int:
    traces = snapshot["device_traces"]
    used = {_whole(s.get("device")) for s in snapshot["segments"]}
    used |= {index for index, trace in enumerate(traces) if trace}
    if wanted is not None and wanted in used:
        return wanted
    named = ", ".join(f"cuda:{index}" for index in sorted(used))
    if not used:
        raise QuestionError(
            "the snapshot is of nothing: no segment and no event",
            where=str(path),
            mend="Call torch.cuda.memory._record_memory_history() before the step",
        )
    if wanted is not None:
        raise QuestionError(f"it holds nothing of cuda:{wanted}, but of {named}", where=str(path))
    if len(used) > 1:
        raise QuestionError(
            f"the snapshot is of several devices: {named}",
            where=str(path),
            mend=f"Name one with {FieldName('device')} cuda:{min(used)}",
        )
    return used.pop()


def _whole(value: Any) -> int:
    """What is no whole number is none."""
    return value if _is_size(value) else 0


def _is_size(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _text(value: Any) -> str:
    """What is no text is none: written out, a list that holds itself twice, and so on, would have
    no end."""
    return value if isinstance(value, str) else ""


def _address(event: Event) -> int:
    return _whole(event.get("addr"))


def _check_sizes(segments: Sequence[Event], events: Sequence[Event], path: Path) -> None:
    """Raises QuestionError for the first size that is no number of bytes: taken as none, a peak
    would be wrong and say nothing of it."""
    sizes = [(f"segment {i}", s.get("total_size")) for i, s in enumerate(segments)]
    sizes += [
        (f"block {j} of segment {i}", block.get("size"))
        for i, segment in enumerate(segments)
        for j, block in enumerate(_listed(segment.get("blocks")))
    ]
    sizes += [
        (f"event {i}", event.get("size"))
        for i, event in enumerate(events)
        if _text(event.get("action")) in _SIZED
    ]
    for where, size in sizes:
        if not _is_size(size):
            raise QuestionError(
                f"the size of {where} is no number of bytes", where=str(path), mend=HOW
            )


def _listed(found: Any) -> list[Event]:
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _rounded(size: int) -> int:
    return -(-size // ROUND) * ROUND


# ---- bytes through the events


def _frees(events: Sequence[Event]) -> str:
    """Memory counts as free when that is asked for; some recordings hold only that it was done."""
    return REQUESTED if any(e.get("action") == REQUESTED for e in events) else COMPLETED


def _changes(events: Sequence[Event]) -> list[int]:
    frees, sizes, found = _frees(events), dict[Any, int](), list[int]()
    for event in events:
        action, size = event.get("action"), _rounded(_whole(event.get("size")))
        if action == ALLOC:
            sizes[_address(event)] = size
            found.append(size)
        elif action == frees:
            found.append(-sizes.pop(_address(event), size))
        else:
            found.append(0)
    return found


def _reservations(events: Sequence[Event]) -> list[int]:
    return [
        _RESERVES.get(_text(event.get("action")), 0) * _whole(event.get("size")) for event in events
    ]


def _fullest(end: int, changes: list[int]) -> tuple[int, int, int]:
    """(bytes at most, after how many events, bytes before the first)."""
    start = end - sum(changes)
    level = most = start
    place = 0
    for number, change in enumerate(changes, start=1):
        level += change
        if level > most:
            most, place = level, number
    return most, place, start


# ---- what was alive

_Alive = tuple[Any, int, Sequence[Event]]


def _blocks(segments: Iterable[Event]) -> Iterator[_Alive]:
    """(address, bytes, stack) of the blocks that are allocated at the end."""
    for segment in segments:
        address = _whole(segment.get("address"))
        for block in _listed(segment.get("blocks")):
            size = _whole(block.get("size"))
            if block.get("state") == "active_allocated":
                yield _whole(block.get("address")) or address, size, _stack(block)
            address += size


def _stack(found: Event) -> Sequence[Event]:
    """Older blocks keep their stacks in a history."""
    frames = found.get("frames")
    history = found.get("history")
    if not frames and isinstance(history, list) and history and isinstance(history[-1], dict):
        frames = history[-1].get("frames")
    return _listed(frames)


def _live(events: Sequence[Event], end: Sequence[_Alive], place: int) -> Iterator[Block]:
    """What was taken by the events up to ``place`` and not freed; what is freed later without
    having been taken; what is there at the end and no event took."""
    frees, alive, known = _frees(events), dict[Any, _Alive](), set[Any]()
    before: list[_Alive] = []
    for number, event in enumerate(events, start=1):
        action, address = event.get("action"), _address(event)
        size = _rounded(_whole(event.get("size")))
        if action == ALLOC:
            known.add(address)
            if number <= place:
                alive[address] = address, size, _stack(event)
        elif action == frees:
            if address not in known:
                known.add(address)
                before += [(address, size, ())] if number > place else []
            elif number <= place:
                alive.pop(address, None)
    before += [(a, size, stack) for a, size, stack in end if a not in known]
    for _, size, stack in alive.values():
        yield Block(size, _origin(stack), _place(stack))
    for _, size, stack in before:
        yield Block(size, BEFORE, _place(stack) if stack else BEFORE)


_OPTIMIZER, _ENGINE = "torch/optim/", ("torch/autograd/", "Engine::")


def _origin(stack: Sequence[Event]) -> str:
    """By the stack: the backward pass runs in autograd's engine, whose thread has no line of the
    program."""
    files = [_file(frame) for frame in stack]
    names = [_text(frame.get("name")) for frame in stack]
    if any(_OPTIMIZER in file for file in files):
        return "optimizer"
    if any(mark in text for mark in _ENGINE for text in (*files, *names)):
        return "backward"
    if not stack:
        return "without a stack"
    return "forward and all else"


def _place(stack: Sequence[Event]) -> str:
    """The innermost line of Python outside torch, else the innermost."""
    if not stack:
        return "without a stack"
    lines = [frame for frame in stack if _file(frame).endswith(".py")]
    own = [frame for frame in lines if "/torch/" not in _file(frame)]
    frame = (own or lines or list(stack))[0]
    short = "/".join(_file(frame).split("/")[-2:])
    return f"{short}:{_whole(frame.get('line'))} {_text(frame.get('name'))[:60]}"


def _file(frame: Event) -> str:
    return _text(frame.get("filename")).replace("\\", "/")
