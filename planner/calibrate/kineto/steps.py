"""Steps of a profile: the windows that its annotations mark, and what the device did in each."""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from planner.calibrate.kineto.reading import Span

MARK = "ProfilerStep#"


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
    """Which step a moment lies in."""

    def __init__(self, found: Sequence[Window], marked: bool):
        self.found, self.marked = tuple(found), marked
        self._starts = [window.start for window in found]

    def at(self, moment: float) -> int | None:
        """None before, after and between the steps."""
        index = bisect_right(self._starts, moment) - 1
        return index if index >= 0 and moment <= self.found[index].end else None


def windows(host: Iterable[Span], device: Iterable[Span]) -> Windows:
    """``ProfilerStep#N`` as the profiler's ``step()`` marks them; without marks the whole trace is
    one step."""
    spans = [*host]
    marks = {s.name: s for s in spans if s.name.startswith(MARK)}
    found = [Window(s.name, s.start, s.end) for s in sorted(marks.values(), key=lambda s: s.start)]
    if found:
        return Windows(found, True)
    every = [*(s for s in spans if s.category != "user_annotation"), *device]
    start, end = min(s.start for s in every), max(s.end for s in every)
    return Windows([Window("whole trace", start, end)], False)


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
