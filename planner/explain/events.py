"""The simulated step as trace events, for Perfetto and chrome://tracing.

The Trace Event Format is Google's ("Trace Event Format", docs.google.com/document/d/
1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU): a JSON object with ``traceEvents``; ``ts`` and
``dur`` are microseconds; ``X`` is a complete event, ``C`` a counter, ``M`` names processes and
threads. Events of one thread do not overlap but where one lies within another.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from planner.explain.clocked import Clocked
from planner.memory.history import History
from planner.trace.table import PHASES, Operand

PROCESS, HOST, DEVICE, PARTS = 1, 1, 2, 3
THREADS = {HOST: "host", DEVICE: "device", PARTS: "step"}
MICRO = 1e6  # microseconds of a second
#: Which span of the third row a phase belongs to.
SPANS = {"teacher": "forward", "recompute": "backward"}
Event = dict[str, Any]


def trace_events(step: Clocked, seen: History, name: str) -> dict[str, Any]:
    """The document. The first micro-batch, the second and the last are drawn operation by
    operation; those between are like the second and stand as one span. ``seen``: the memory of the
    same step."""
    begin = _begin(step)
    events = [*_names(name), *_loop(step, begin)]
    drawn, free = drawn_micro_batches(step.accumulation), 0.0
    for number in drawn:
        last = number == step.accumulation - 1
        of_host, free = _on_host(step, begin + number * step.micro_seconds, last, free)
        events += of_host
        events += _on_device(step, begin + number * step.micro_seconds, last)
        events += _spans(step, begin + number * step.micro_seconds, number, last)
    events += _between(step, begin)
    events += _exchange(step, begin)
    events += _memory(step, seen, begin)
    # names first, then by time; what lasts no time stays before what begins with it
    events.sort(key=lambda e: (e["ph"] != "M", e.get("ts", 0.0)))
    return {
        "traceEvents": _scaled(events, step.factor),
        "displayTimeUnit": "ms",
        "otherData": {
            "step_seconds": step.seconds * step.factor,
            "begins_us": begin * step.factor * MICRO,
            "micro_batches": step.accumulation,
            "drawn_micro_batches": [number + 1 for number in drawn],
            "correction_factor": step.factor,
        },
    }


def drawn_micro_batches(accumulation: int) -> list[int]:
    """The first, the second and the last, as far as there are so many."""
    return sorted({0, min(1, accumulation - 1), accumulation - 1})


def _begin(step: Clocked) -> float:
    """The host may run ahead of the device: the step begins so long after the host's first
    event."""
    first = float(step.host_start.min(initial=0.0)) - step.loop_seconds
    return max(0.0, -first)


def _scaled(events: list[Event], factor: float) -> list[Event]:
    """Seconds become microseconds of the answer's step."""
    for event in events:
        for key in ("ts", "dur"):
            if key in event:
                event[key] = event[key] * factor * MICRO
    return events


def _names(name: str) -> Iterator[Event]:
    yield {"ph": "M", "name": "process_name", "pid": PROCESS, "args": {"name": name}}
    for thread, text in THREADS.items():
        common = {"ph": "M", "pid": PROCESS, "tid": thread}
        yield {**common, "name": "thread_name", "args": {"name": text}}
        yield {**common, "name": "thread_sort_index", "args": {"sort_index": thread}}


def _complete(thread: int, name: str, kind: str, start: float, end: float, **args: Any) -> Event:
    return {
        "ph": "X",
        "pid": PROCESS,
        "tid": thread,
        "name": name,
        "cat": kind,
        "ts": start,
        "dur": max(0.0, end - start),
        "args": args,
    }


def _loop(step: Clocked, begin: float) -> Iterator[Event]:
    """What the training loop does before the step's first operation."""
    if step.loop_seconds > 0 and len(step.host_start) and step.host_runs_ahead:
        end = begin + float(step.host_start[0])
        yield _complete(HOST, "training loop", "loop", end - step.loop_seconds, end)


def _on_host(step: Clocked, begin: float, last: bool, free: float) -> tuple[list[Event], float]:
    """(one micro-batch as the host enqueues it, when the host is free again); the update with the
    last alone. ``free``: when the host ended the micro-batch before, which may be a little later
    than this one would begin by itself."""
    found: list[Event] = []
    for index in _indices(step, last):
        start = max(begin + float(step.host_start[index]), free)
        free = max(begin + float(step.host_end[index]), start)
        found.append(_complete(HOST, *_described(step, index), start, free, **_args(step, index)))
    return found, free


def _on_device(step: Clocked, begin: float, last: bool) -> Iterator[Event]:
    """What the device computes of a micro-batch."""
    for index in _indices(step, last):
        busy = min(float(step.busy[index]), float(step.spans[index]))
        if busy > 0:
            end = begin + float(step.end[index])
            args = _args(step, index)
            yield _complete(DEVICE, *_described(step, index), end - busy, end, **args)


def _indices(step: Clocked, last: bool) -> list[int]:
    return np.flatnonzero(last | ~step.is_update).tolist()


def _described(step: Clocked, index: int) -> tuple[str, str]:
    """(name, kind) of an operation."""
    signature = int(step.trace.op_signature[index])
    return step.trace.signatures[signature].op, step.done.kinds[signature]


def _args(step: Clocked, index: int) -> dict[str, Any]:
    trace, signature = step.trace, int(step.trace.op_signature[index])
    return {
        "module": trace.modules[int(trace.op_module[index])],
        "phase": PHASES[int(trace.op_phase[index])],
        "shapes": _shapes(step, signature),
        "flops": float(step.done.flops[signature, 0]),
        "bytes": float(step.done.bytes[signature, 0]),
    }


def _shapes(step: Clocked, signature: int) -> str:
    """``bfloat16[8, 761, 2048], … → bfloat16[…]``."""
    found = step.trace.signatures[signature]
    inputs, outputs = (
        ", ".join(_operand(step, one) for one in side) for side in (found.inputs, found.outputs)
    )
    return f"{inputs} → {outputs}"


def _operand(step: Clocked, one: Operand) -> str:
    sizes = ", ".join(str(int(step.dims[form])) for form in one.shape)
    return f"{one.dtype}[{sizes}]" + (f" × {one.count}" if one.count > 1 else "")


def _spans(step: Clocked, begin: float, number: int, last: bool) -> Iterator[Event]:
    """The phases of a micro-batch, one after another on the device's clock: they sum to the
    step."""
    position, phase, start = 0.0, "", 0.0
    for index in np.flatnonzero(last | ~step.is_update).tolist():
        own = PHASES[int(step.trace.op_phase[index])]
        own = SPANS.get(own, own)
        if own != phase:
            if phase:
                yield _span(phase, number, begin + start, begin + position)
            phase, start = own, position
        position = float(step.end[index])
    if phase:
        yield _span(phase, number, begin + start, begin + position)


def _span(phase: str, number: int, start: float, end: float) -> Event:
    return _complete(PARTS, phase, "phase", start, end, micro_batch=number + 1)


def _between(step: Clocked, begin: float) -> Iterator[Event]:
    """Micro-batches that are like the second, as one span."""
    left_out = step.accumulation - len(drawn_micro_batches(step.accumulation))
    if left_out > 0:
        start = begin + 2 * step.micro_seconds
        end = start + left_out * step.micro_seconds
        name = f"{left_out} micro-batches like the second"
        yield _complete(PARTS, name, "phase", start, end, micro_batches=left_out)


def _exchange(step: Clocked, begin: float) -> Iterator[Event]:
    if step.exchange_seconds > 0:
        end = begin + step.seconds
        start = end - step.exchange_seconds
        yield _complete(PARTS, "exchange between devices", "phase", start, end)


def _memory(step: Clocked, seen: History, begin: float) -> Iterator[Event]:
    """What the allocator counts, when the host takes and gives back: the host's clock, as torch's
    own counters show it."""
    last, count = int(seen.micro_batch.max(initial=0)), step.trace.op_count
    if not count:
        return
    place = np.where(seen.micro_batch == last, step.accumulation - 1, seen.micro_batch)
    operation = np.clip(seen.operation, 0, count - 1)
    when = np.where(seen.block_bytes < 0, step.host_end[operation], step.host_start[operation])
    when = np.maximum.accumulate(when + place * step.micro_seconds) + begin
    levels = seen.levels
    changed = np.append(np.diff(when) > 0, True)  # of one moment the last
    for at in np.flatnonzero(changed).tolist():
        yield {
            "ph": "C",
            "pid": PROCESS,
            "name": "memory",
            "ts": max(0.0, float(when[at])),
            "args": {
                "allocated_bytes": int(levels[at]),
                "reserved_bytes": int(seen.reserved_bytes),
            },
        }
