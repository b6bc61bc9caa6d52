"""Replays of the allocator that were made, so that none is made twice."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from planner.memory.peak import PeakMemory, replay
from planner.trace.table import StepTrace

#: A survey of every device asks for some hundred; the oldest are forgotten beyond this.
MOST = 4096
#: Micro-batches of a step beyond this many leave the allocator as they found it.
DISTINCT_ACCUMULATIONS = 3

Key = tuple[int, tuple[int | None, ...], int, tuple[int, ...]]


class Replays:
    """Peaks by trace, point, accumulation and workspaces: devices differ in the last alone, and a
    search asks for many devices. Each entry holds its trace, so that its identity stays its own."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Key, tuple[StepTrace, PeakMemory]] = OrderedDict()

    def peak(
        self,
        trace: StepTrace,
        point: Mapping[str, int | None],
        *,
        accumulation: int,
        workspace: tuple[int, ...],
    ) -> PeakMemory:
        """``peak.replay`` of the trace at a point."""
        symbols = tuple(point.get(symbol) for symbol in trace.symbols)
        key = (id(trace), symbols, min(accumulation, DISTINCT_ACCUMULATIONS), workspace)
        if key not in self._kept:
            made = replay(trace, dict(point), accumulation=accumulation, workspace=workspace)
            self._kept[key] = trace, made
            if len(self._kept) > MOST:
                self._kept.popitem(last=False)
        return self._kept[key][1]
