"""Steps of a profile: the windows that its annotations mark, and what the device did in each."""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from planner.calibrate.kineto.naming import BACKWARD
from planner.calibrate.kineto.reading import Span

MARK, UPDATE_MARK = "ProfilerStep#", "Optimizer.step#"


#: How far marks may overlap by their clock's rounding.
CLOCK_SECONDS = 1e-6


@dataclass(frozen=True)
class Window:
    """Of one step, seconds on the trace's clock."""

    name: str
    start: float
    end: float


@dataclass(frozen=True)
class StepSeen:
    """Seconds of one recorded step. ``busy``: while anything ran on the device; ``work``: the sum
    of what ran, so that streams that overlap count twice."""

    name: str
    seconds: float
    busy_seconds: float
    work_seconds: float
    kernels: int

    @property
    def idle_seconds(self) -> float:
        """In which nothing ran: the device waited for its host."""
        return max(0.0, self.seconds - self.busy_seconds)

    @property
    def busy_share(self) -> float:
        return min(1.0, self.busy_seconds / self.seconds) if self.seconds else 0.0


class Windows:
    """Which step a moment lies in. ``marked``: by the profiler's ``step()``; else they end with an
    optimizer's updates, or the whole trace is one."""

    def __init__(self, found: Sequence[Window], marked: bool):
        self.found, self.marked = tuple(found), marked
        self._starts = [window.start for window in found]

    def at(self, moment: float) -> int | None:
        """None before, after and between the steps."""
        index = bisect_right(self._starts, moment) - 1
        return index if index >= 0 and moment <= self.found[index].end else None


def windows(host: Iterable[Span], device: Iterable[Span]) -> Windows:
    """``ProfilerStep#N`` as the profiler's ``step()`` marks them; without marks a step ends with
    each of several updates of an optimizer, else the whole trace is one step."""
    spans = [*host]
    found = list(_apart(s for s in spans if s.name.startswith(MARK)))
    if found:
        return Windows(found, True)
    every = [*(s for s in spans if s.category != "user_annotation"), *device]
    start, end = min(s.start for s in every), max(s.end for s in every)
    ends = list(_updates(spans))
    if len(ends) < 2:
        return Windows([Window("whole trace", start, end)], False)
    starts = [start, *ends[:-1]]
    return Windows(
        [Window(f"update {i}", *pair) for i, pair in enumerate(zip(starts, ends), start=1)], False
    )


def _apart(marks: Iterable[Span]) -> Iterator[Window]:
    """In their order, those that begin inside another left out: a step begins when the one before
    has ended."""
    reached = float("-inf")
    for mark in sorted(marks, key=lambda s: (s.start, -s.end)):
        if mark.start >= reached - CLOCK_SECONDS:
            yield Window(mark.name, mark.start, mark.end)
            reached = mark.end


def _updates(spans: Iterable[Span]) -> Iterator[float]:
    """When each update ended: those of several optimizers with no backward pass between them are
    one."""
    ended: float | None = None
    for span in sorted(spans, key=lambda s: s.start):
        if span.name.startswith(UPDATE_MARK):
            ended = span.end if ended is None else max(ended, span.end)
        elif ended is not None and span.name.startswith(BACKWARD) and span.start >= ended:
            yield ended
            ended = None
    if ended is not None:
        yield ended


def step_seen(window: Window, ran: Sequence[tuple[float, float]], alone: bool) -> StepSeen:
    """``ran``: when each piece of the step's work ran. The host may have run ahead: a step that
    stands ``alone`` ends with its last piece of work; several follow each other as the host's
    marks do."""
    end = max([window.end, *(stop for _, stop in ran)]) if alone else window.end
    return StepSeen(
        window.name,
        end - window.start,
        covered(ran),
        sum(stop - start for start, stop in ran),
        len(ran),
    )


def covered(intervals: Iterable[tuple[float, float]]) -> float:
    """Seconds in which at least one interval runs."""
    total, reached = 0.0, float("-inf")
    for start, stop in sorted(intervals):
        total += max(0.0, stop - max(start, reached))
        reached = max(reached, stop)
    return total


def median(values: Iterable[float]) -> float:
    found = list(values)
    return statistics.median(found) if found else 0.0
