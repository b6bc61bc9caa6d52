"""Replays of the allocator that were made, so that none is made twice."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from planner.memory.allocator import PLAIN, AllocatorConfig
from planner.memory.peak import PeakMemory, passes_within, replay
from planner.trace.table import StepTrace

#: A survey of every device asks for some hundred; the oldest are forgotten beyond this.
MOST = 4096
#: Micro-batches of a step beyond this many leave the allocator as they found it.
DISTINCT_ACCUMULATIONS = 3

Point = tuple[int, tuple[int | None, ...], int, tuple[int, ...]]
Key = tuple[int, tuple[int | None, ...], int, tuple[int, ...], AllocatorConfig, int | None]


class Replays:
    """Peaks by trace, point, accumulation and workspaces: devices differ in the last alone, and a
    search asks for many devices. Each entry holds its trace, so that its identity stays its own."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Key, tuple[StepTrace, PeakMemory]] = OrderedDict()
        self._within: OrderedDict[tuple[Key, int], tuple[StepTrace, bool]] = OrderedDict()

    def peak(
        self,
        trace: StepTrace,
        point: Mapping[str, int | None],
        *,
        accumulation: int,
        workspace: tuple[int, ...],
        config: AllocatorConfig = PLAIN,
        emptied: int | None = None,
    ) -> PeakMemory:
        """``peak.replay`` of the trace at a point."""
        key = *_key(trace, point, accumulation, workspace), config, emptied
        if key not in self._kept:
            made = replay(
                trace,
                dict(point),
                accumulation=accumulation,
                workspace=workspace,
                config=config,
                emptied=emptied,
            )
            self._kept[key] = trace, made
            if len(self._kept) > MOST:
                self._kept.popitem(last=False)
        return self._kept[key][1]

    def within(
        self,
        trace: StepTrace,
        point: Mapping[str, int | None],
        *,
        accumulation: int,
        workspace: tuple[int, ...],
        limit_bytes: int,
        config: AllocatorConfig = PLAIN,
    ) -> bool:
        """``peak.passes_within`` of the trace at a point: whether so many reserved bytes are enough
        where the allocator gives back what it keeps."""
        key = (*_key(trace, point, accumulation, workspace), config, None), limit_bytes
        if key not in self._within:
            made = passes_within(
                trace,
                dict(point),
                accumulation=accumulation,
                workspace=workspace,
                limit_bytes=limit_bytes,
                config=config,
            )
            self._within[key] = trace, made
            if len(self._within) > MOST:
                self._within.popitem(last=False)
        return self._within[key][1]


def _key(
    trace: StepTrace,
    point: Mapping[str, int | None],
    accumulation: int,
    workspace: tuple[int, ...],
) -> Point:
    symbols = tuple(point.get(symbol) for symbol in trace.symbols)
    return id(trace), symbols, min(accumulation, DISTINCT_ACCUMULATIONS), workspace
