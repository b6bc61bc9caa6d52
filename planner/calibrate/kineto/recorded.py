"""A recorded training step as the planner sees one: its operations, its steps, the host, the
memory, and which device ran it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.calibrate.kineto import units as operations
from planner.calibrate.kineto.device import Facts, MemorySeen, device_facts, memory_seen
from planner.calibrate.kineto.reading import Document, read
from planner.calibrate.kineto.steps import StepSeen, Windows, median, step_seen, windows
from planner.calibrate.kineto.units import Ran, Unit
from planner.errors import ProfileError


@dataclass(frozen=True)
class Recorded:
    """``units``: operations inside the steps, with the index of their step; ``ran``: what the
    device ran inside them. ``device_index`` None: of a processor. ``latency_seconds``: from the end
    of a launch to the beginning of its kernel where the stream waited. ``outside_seconds``: work
    before, between and after the steps."""

    path: Path
    device: Facts
    device_index: int | None
    windows: Windows
    steps: tuple[StepSeen, ...]
    units: tuple[tuple[int, Unit], ...]
    ran: tuple[Ran, ...]
    latency_seconds: float | None
    memory: MemorySeen | None
    has_shapes: bool
    has_stacks: bool
    outside_seconds: float
    document: Document

    @property
    def on_processor(self) -> bool:
        return self.device_index is None

    @property
    def step_seconds(self) -> float:
        """Median of the steps."""
        return median(step.seconds for step in self.steps)

    @property
    def busy_seconds(self) -> float:
        return median(step.busy_seconds for step in self.steps)

    @property
    def busy_share(self) -> float:
        return median(step.busy_share for step in self.steps)

    @property
    def work_seconds(self) -> float:
        """Of a step, on average over the steps: the sum of all that ran."""
        return sum(step.work_seconds for step in self.steps) / len(self.steps)

    @property
    def overlap_share(self) -> float:
        """Of the device's work, what ran beside other work of it."""
        work = sum(step.work_seconds for step in self.steps)
        busy = sum(step.busy_seconds for step in self.steps)
        return 1 - busy / work if work else 0.0

    def by_kind(self) -> dict[str, float]:
        """Seconds of a step on average, by kind of operation, the longest first; what ran for no
        operation as ``no operation`` or ``communication``."""
        return self._sums((one, self.kind_of(one)) for one in self.ran)

    def by_phase(self) -> dict[str, float]:
        return self._sums(
            (one, "outside operations" if one.unit is None else one.unit.phase) for one in self.ran
        )

    def kind_of(self, one: Ran) -> str:
        if operations.communicates(one):
            return "communication"
        return "no operation" if one.unit is None else one.unit.kind

    def _sums(self, parts: Iterable[tuple[Ran, str]]) -> dict[str, float]:
        found: dict[str, float] = defaultdict(float)
        for one, name in parts:
            found[name] += (one.end - one.start) / len(self.steps)
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    def calls_by_kind(self) -> dict[str, float]:
        """Operations of a step on average, by kind."""
        counts = Counter(unit.kind for _, unit in self.units)
        return {kind: count / len(self.steps) for kind, count in counts.items()}


def recorded(path: Path, device: int | None = None) -> Recorded:
    """``device``: the index of the one whose kernels count. Raises QuestionError for a file that
    is not there, ProfileError for one that is no such trace, is of several devices, or in which
    nothing ran."""
    document = read(path)
    index = operations.device_of(document, device)
    units, ran = (
        operations.computed(document) if index is None else operations.launched(document, index)
    )
    marks = windows(document.host, document.device)
    inside = [(place, unit) for unit in units if (place := marks.at(unit.start)) is not None]
    kept = [one for one in ran if marks.at(one.issued) is not None]
    if not kept:
        raise ProfileError(
            "nothing ran on the device inside its steps",
            where=str(path),
            mend="Record both activities, CPU and CUDA, and whole steps",
        )
    return Recorded(
        path=path,
        device=device_facts(document, index),
        device_index=index,
        windows=marks,
        steps=_steps(marks, kept),
        units=tuple(inside),
        ran=tuple(kept),
        latency_seconds=None if index is None else _latency(kept),
        memory=memory_seen(document, index),
        has_shapes=any("Input Dims" in unit.span.args for _, unit in inside),
        has_stacks=document.has_stacks,
        outside_seconds=sum(one.end - one.start for one in ran)
        - sum(o.end - o.start for o in kept),
        document=document,
    )


def _steps(marks: Windows, ran: Sequence[Ran]) -> tuple[StepSeen, ...]:
    """Steps in which nothing ran are left out: a profiler ends some of them early."""
    by_step: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for one in ran:
        place = marks.at(one.issued)
        assert place is not None
        by_step[place].append((one.start, one.end))
    alone = len(by_step) == 1
    return tuple(
        step_seen(marks.found[place], found, alone) for place, found in sorted(by_step.items())
    )


def _latency(ran: Sequence[Ran]) -> float | None:
    """Median over kernels that were launched when nothing was left to run on any stream."""
    ended: float | None = None
    found: list[float] = []
    for one in ran:
        if one.launch is not None and ended is not None and ended < one.launch.start:
            waited = one.start - one.launch.end
            if waited > 0:
                found.append(waited)
        ended = one.end if ended is None else max(one.end, ended)
    return median(found) if found else None


def facts_of(seen: Sequence[Recorded]) -> dict[str, Any]:
    """What several traces say of their device. Raises ProfileError for traces of two."""
    names = {str(one.device.get("name")) for one in seen}
    if len(names) > 1:
        raise ProfileError(
            f"the traces are of several devices: {', '.join(sorted(names))}",
            mend="Make a profile of each device from its own traces",
        )
    return dict(seen[0].device)
