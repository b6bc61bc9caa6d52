"""Host and device through one step: seconds of forward, backward and optimizer from what each
operation takes on either.

Three ways, all [3, n_points]: ``added`` where the host computes itself, ``walked`` operation by
operation, ``stretched`` over some 48 stretches of operations, all points at once.
"""

from __future__ import annotations

import numpy as np

from planner.step_time.host import HostTime
from planner.trace.table import PHASES, StepTrace

STRETCHES = 48
SETTLING_STEPS = 2  # before the one that counts
#: Which of the three parts of a step a phase belongs to: forward, backward, optimizer.
_PART_OF = {"forward": 0, "teacher": 0, "recompute": 1, "backward": 1, "optimizer": 2}
_PART = np.array([_PART_OF[phase] for phase in PHASES])


def added(trace: StepTrace, host: HostTime, each: np.ndarray) -> np.ndarray:
    """Where the host computes itself: [3, n_points]."""
    parts, out = _PART[trace.op_phase], np.zeros((3, each.shape[1]))
    for part in range(3):
        mine = parts == part
        counts = np.bincount(trace.op_signature[mine], minlength=each.shape[0])
        out[part] = counts @ each + host.seconds[mine].sum()
    waits = host.wait_seconds * len(host.waits)
    out[0] += waits + host.step_seconds if not (parts == 2).any() else waits
    out[2] += host.step_seconds if (parts == 2).any() else 0.0
    return out


# ---- copies on a stream of their own


def beside(
    trace: StepTrace, each: np.ndarray, aside: np.ndarray, parts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(the parts with what of their copies does not hide behind the rest, seconds of each signature
    with what of its calls shows): operations of ``aside`` (bool [n_signatures]) run beside the
    others of their part, and the part ends with the later of both."""
    which, parts = _PART[trace.op_phase], parts.copy()
    whole, shown = np.zeros(each.shape[1]), np.zeros(each.shape[1])
    for part in range(3):
        counts = np.bincount(trace.op_signature[which == part], minlength=each.shape[0])
        copies = (counts * aside) @ each
        late = np.maximum(copies - parts[part], 0.0)
        parts[part] += late
        whole, shown = whole + copies, shown + late
    share = np.divide(shown, whole, out=np.zeros_like(whole), where=whole > 0)
    return parts, np.where(aside[:, None], each * share, each)


# ---- every operation, one point at a time


def walked(trace: StepTrace, host: HostTime, each: np.ndarray) -> np.ndarray:
    """Seconds of forward, backward and optimizer: [3, n_points]."""
    part = _PART[trace.op_phase]
    out = np.zeros((3, each.shape[1]))
    for point in range(each.shape[1]):
        device = each[trace.op_signature, point]
        ends, clock, end, previous = np.empty(0), 0.0, 0.0, 0.0
        for _ in range(SETTLING_STEPS + 1):
            previous = end
            ends, clock, end = walk(host, device, clock + host.step_seconds, end)
        np.add.at(out[:, point], part, np.diff(ends, prepend=previous))
    return out


def walk(
    host: HostTime, device: np.ndarray, clock: float, end: float
) -> tuple[np.ndarray, float, float]:
    """(when each operation ends, the host's clock and the device's after the step)."""
    ends, position = np.empty(len(device)), 0
    for stop in [*host.waits.tolist(), len(device)]:
        part = slice(position, stop)
        if stop > position:
            enqueued, busy = clock + np.cumsum(host.seconds[part]), np.cumsum(device[part])
            gaps = np.where(host.launches[part], enqueued - (busy - device[part]), -np.inf)
            ends[part] = busy + np.maximum(end, np.maximum.accumulate(gaps))
            clock, end = float(enqueued[-1]), float(ends[stop - 1])
        if stop < len(device):
            clock = max(clock + float(host.seconds[stop]), end) + host.wait_seconds
            ends[stop] = end
        position = stop + 1
    return ends, clock, end


# ---- stretches of operations, all points at once


def stretched(trace: StepTrace, host: HostTime, each: np.ndarray) -> np.ndarray:
    """As ``walked``, over stretches: [3, n_points]."""
    starts = _boundaries(trace, host)
    stops = np.append(starts[1:], trace.op_count)
    counts = np.zeros((len(starts), each.shape[0]))
    np.add.at(
        counts,
        (np.searchsorted(starts, np.arange(trace.op_count), side="right") - 1, trace.op_signature),
        1,
    )
    busy, waits = counts @ each, set(host.waits.tolist())
    out = np.zeros((3, each.shape[1]))
    clock, end = np.zeros(each.shape[1]), np.zeros(each.shape[1])
    for step in range(SETTLING_STEPS + 1):
        clock = clock + host.step_seconds
        for index, (start, stop) in enumerate(zip(starts, stops)):
            before = end
            clock, end = _stretch(
                trace, host, each, busy=busy[index], clock=clock, end=end, start=start, stop=stop
            )
            if stop - 1 in waits:
                clock = np.maximum(clock, end) + host.wait_seconds
            if step == SETTLING_STEPS:
                out[_PART[trace.op_phase[start]]] += end - before
    return out


def _stretch(
    trace: StepTrace,
    host: HostTime,
    each: np.ndarray,
    *,
    busy: np.ndarray,
    clock: np.ndarray,
    end: np.ndarray,
    start: int,
    stop: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Either the device is late throughout, or the host: the last launch and its own time end the
    stretch."""
    enqueued = np.cumsum(host.seconds[start:stop])
    launched = np.flatnonzero(host.launches[start:stop])
    if launched.size:
        first, last = launched[0], launched[-1]
        end = np.maximum(
            np.maximum(end, clock + enqueued[first]) + busy,
            clock + enqueued[last] + each[trace.op_signature[start + last]],
        )
    return clock + enqueued[-1], end


def _boundaries(trace: StepTrace, host: HostTime) -> np.ndarray:
    """First operations of the stretches: evenly spread, at each change of part, and after each wait
    of the host."""
    even = np.linspace(0, trace.op_count, STRETCHES, endpoint=False).astype(int)
    changes = np.flatnonzero(np.diff(_PART[trace.op_phase])) + 1
    waits = host.waits[host.waits < trace.op_count - 1] + 1
    # np.unique imports numpy.ma, a tenth of numpy
    return np.array(sorted({0, *even.tolist(), *changes.tolist(), *waits.tolist()}))
