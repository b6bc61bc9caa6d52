"""Time calls as pyperf does: warm-up apart, samples of many calls where one is short, repeats until
stable, samples kept.

The device's seconds are apart from the host's: on CUDA events around calls that were enqueued while
the device was kept busy, so that it never waits for the host; elsewhere the host runs or awaits the
work and the wall clock tells.
"""

from __future__ import annotations

import gc
import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from planner.calibrate.operations.backends import Backend
from planner.calibrate.operations.execute import calls as calls_of
from planner.calibrate.operations.execute import guarded, precision
from planner.operations.cases import Case

#: A sample lasts at least this long, so that clocks and events are fine enough.
_SAMPLE_SECONDS = {"cuda": 1e-3, "mps": 5e-3, "cpu": 2e-4}
#: The queue of a CUDA device holds about a thousand launches; an operation may be several.
_MOST_ENQUEUED = {"cuda": 128, "mps": 256, "cpu": 100_000}
#: Stable: standard error of the median below this share of it; warm: two rounds agree within that.
_STABLE, _WARM = 0.02, 0.2
#: Efficiency of the median under normal noise: its variance is π/2 that of the mean.
_MEDIAN = math.sqrt(math.pi / 2)
#: Energy counters tick every few tens of milliseconds: less is not measured.
_ENERGY_SECONDS = 0.25
_MOST_ROUNDS = 1000
#: A call's host seconds before they are known, and for how long the device is held busy at most.
_UNKNOWN_HOST, _LONGEST_SPIN_SECONDS = 1e-4, 0.05


@dataclass(frozen=True)
class Timing:
    """Seconds of one call on the device: median, 10th and 90th percentile of ``samples`` (each the
    mean over an inner loop). ``repeats``: calls in all. ``host_seconds``: the host's to enqueue one
    call; where the host does the work itself, the same as ``seconds``. ``joules`` of one call, None
    where no counter tells."""

    seconds: float
    low_seconds: float
    high_seconds: float
    samples: tuple[float, ...]
    repeats: int
    host_seconds: float
    joules: float | None


def time_case(case: Case, backend: Backend, *, budget_seconds: float = 0.15) -> Timing:
    """Time a case over its own buffers. Raises CannotRun (one line; ``out of memory`` among the
    reasons), MachineError where the device died."""
    with precision(case.precision), guarded(backend):
        return time_calls(calls_of(case, backend), backend, budget_seconds=budget_seconds)


def time_calls(
    calls: Sequence[Callable[[], Any]],
    backend: Backend,
    *,
    budget_seconds: float = 0.15,
    min_rounds: int = 5,
) -> Timing:
    """Time calls that do equal work, in turn. A single call longer than the budget is timed two or
    three times."""
    turn = itertools.cycle(calls)
    with _without_garbage():
        started = time.perf_counter()
        device, made = _warmed(turn, backend, budget_seconds / 3, len(calls))
        host = _enqueueing(turn, backend, device) if _apart(backend) else 0.0
        inner, samples = (
            _inner(device, backend, len(calls)),
            [device] if device > budget_seconds else [],
        )
        while not _enough(samples, device, started, budget_seconds, min_rounds):
            samples.append(_sample(turn, inner, backend, host, device))
        joules = _joules(
            turn,
            statistics.median(samples),
            backend,
            budget_seconds - (time.perf_counter() - started),
        )
    median = statistics.median(samples)
    low, high = (float(q) for q in np.percentile(samples, (10, 90)))
    return Timing(
        median,
        low,
        high,
        tuple(samples),
        made + inner * len(samples),
        host if _apart(backend) else median,
        joules,
    )


def _apart(backend: Backend) -> bool:
    """Whether the host goes on while the device works."""
    return backend.kind != "cpu"


@contextmanager
def _without_garbage() -> Iterator[None]:
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _warmed(turn: Iterator, backend: Backend, seconds: float, copies: int) -> tuple[float, int]:
    """(device seconds, calls made) when two calls in a row agree, or ``seconds`` are spent; then
    once over all buffers, so that the memory of each result has been asked for before."""
    started, made, previous = time.perf_counter(), 0, math.inf
    while True:
        device = _sample(turn, 1, backend, _UNKNOWN_HOST, 0.0)
        made += 1
        if abs(device - previous) <= _WARM * device or time.perf_counter() - started > seconds:
            break
        previous = device
    rest = max(0, copies - made)
    if rest * min(device, previous) <= (3 * seconds if _apart(backend) else seconds):
        for call in itertools.islice(turn, rest):
            call()
        made += rest
        backend.synchronise()
    return min(device, previous), made


def _enqueueing(turn: Iterator, backend: Backend, device: float) -> float:
    """The host's median seconds to enqueue a call, with room in the queue and nothing to wait
    for."""
    count, seconds = (1 if device > 1e-2 else 8), []
    for _ in range(5 if device < 1e-2 else 2):
        todo = list(itertools.islice(turn, count))
        backend.synchronise()
        started = time.perf_counter()
        for call in todo:
            call()
        seconds.append((time.perf_counter() - started) / count)
    backend.synchronise()
    return statistics.median(seconds)


def _inner(device_seconds: float, backend: Backend, copies: int) -> int:
    """Calls in a sample: whole turns over the buffers where that many are needed anyway."""
    wanted = min(
        _MOST_ENQUEUED[backend.kind],
        math.ceil(_SAMPLE_SECONDS[backend.kind] / max(device_seconds, 1e-7)),
    )
    whole = copies * max(1, wanted // copies)
    return whole if copies <= wanted and whole <= _MOST_ENQUEUED[backend.kind] else max(1, wanted)


def _enough(samples: list[float], device: float, started: float, budget: float, least: int) -> bool:
    spent, count = time.perf_counter() - started, len(samples)
    if device > budget:  # the one that warmed up counts, since its case was proved by a call before
        return count >= 3 or (count == 2 and spent > 3 * budget)
    if count < least:
        return count >= 2 and spent > 2 * budget
    return spent > budget or count >= _MOST_ROUNDS or _standard_error(samples) < _STABLE


def _standard_error(samples: list[float]) -> float:
    """Of the median, relative to it; the spread from the 10th to the 90th percentile, which stray
    samples do not move."""
    low, median, high = np.percentile(samples, (10, 50, 90))
    return _MEDIAN * (high - low) / 2.563 / math.sqrt(len(samples)) / max(median, 1e-12)


def _sample(turn: Iterator, count: int, backend: Backend, host: float, device: float) -> float:
    """Device seconds of one call, the mean over ``count``. ``host``, ``device``: what a call is
    thought to take of either."""
    todo = list(itertools.islice(turn, count))
    if backend.kind == "cuda":
        return _on_cuda(todo, backend, host, device)
    backend.synchronise()
    started = time.perf_counter()
    for call in todo:
        call()
    backend.synchronise()
    return (time.perf_counter() - started) / count


def _on_cuda(todo: list, backend: Any, host: float, device: float) -> float:
    """Events around calls that are enqueued while the device is held busy, for so long that it
    never waits for the host."""
    import torch

    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    ahead = host + max(0.0, host - device) * len(todo)
    backend.synchronise()
    backend.occupy(min(_LONGEST_SPIN_SECONDS, 3e-5 + 1.5 * ahead))
    start.record()
    for call in todo:
        call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) * 1e-3 / len(todo)


def _joules(turn: Iterator, seconds: float, backend: Backend, left: float) -> float | None:
    """Energy of one call, where the budget leaves time for the counter to move."""
    if left < _ENERGY_SECONDS or backend.joules() is None:
        return None
    count = max(1, math.ceil(_ENERGY_SECONDS / max(seconds, 1e-7)))
    backend.synchronise()
    before, started, made = backend.joules(), time.perf_counter(), 0
    while made < count and time.perf_counter() - started < left:
        for call in itertools.islice(turn, min(count - made, 64)):
            call()
        made += min(count - made, 64)
        backend.synchronise()
    after = backend.joules()
    return (
        (after - before) / made
        if before is not None and after is not None and after > before
        else None
    )
