"""What the host took for a recorded step, as costs of a device profile: by the names of the rows of
kind ``host`` in ``profiles/priors/device.csv``.

A profiler writes down every operation while the host runs it, with stacks several times as long as
the operation takes, and no trace tells by how much. So these are upper bounds, and a profile takes
them only where that is asked for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from planner.calibrate.kineto.naming import is_operation, phase_of
from planner.calibrate.kineto.reading import RUNTIME, Span
from planner.calibrate.kineto.recorded import Recorded
from planner.calibrate.kineto.steps import median
from planner.calibrate.kineto.units import is_view

PHASES = ("forward", "backward", "optimizer")
_VIEWS = {"forward": "view_forward_seconds", "backward": "view_backward_seconds"}
#: What the costs of single operations hold already, since they are of whole phases.
_WITHIN = ("tensor_seconds", "module_seconds", "step_seconds")
_WAITS = "Synchronize"


def host_records(seen: Recorded) -> Iterator[dict[str, Any]]:
    """Records of kind ``host``: of each phase the host's time between its operations, less views
    and waits, shared by the operations that launch something."""
    views = _views(seen)
    for phase, name in _VIEWS.items():
        if views[phase]:
            yield _record(name, median(span.seconds for span in views[phase]))
    for phase in PHASES:
        taken = list(_between(seen, phase, [*views[phase], *_waits(seen, phase)]))
        if sum(taken) > 0:
            yield _record(f"{phase}_seconds", sum(taken) / len(taken))
    yield from (_record(name, 0.0) for name in _WITHIN)


def _record(name: str, value: float) -> dict[str, Any]:
    return {"record": "host", "name": name, "value": value, "samples": []}


def _views(seen: Recorded) -> dict[str, list[Span]]:
    """Outermost operations inside the steps that only arrange, by phase."""
    found: dict[str, list[Span]] = defaultdict(list)
    for span in seen.document.host:
        if span.category != "cpu_op" or seen.windows.at(span.start) is None:
            continue
        if not is_operation(span.name) or not is_view(span.name):
            continue
        around = [s.name for s in span.enclosing[:-1]]
        if not any(is_operation(name) for name in around):
            found[phase_of(around)].append(span)
    return found


def _waits(seen: Recorded, phase: str) -> list[Span]:
    """Outermost calls of the runtime in which the host waits for the device."""
    return [
        span
        for span in seen.document.host
        if span.category in RUNTIME
        and _WAITS in span.name
        and phase_of([s.name for s in span.enclosing]) == phase
    ]


def _between(seen: Recorded, phase: str, apart: list[Span]) -> Iterator[float]:
    """Seconds from each operation of a phase to the next one of the same step, without what is
    ``apart``: from its beginning, so that its own enqueuing counts, or on a processor from its end.
    Python between operations counts."""
    ordered = sorted(apart, key=lambda span: span.start)
    starts = [span.start for span in ordered]
    sums = [0.0, *accumulate(span.seconds for span in ordered)]
    last: tuple[int, float] | None = None
    units = [(step, unit) for step, unit in seen.units if unit.phase == phase]
    for step, unit in sorted(units, key=lambda placed: placed[1].start):
        if last is not None and last[0] == step:
            first, end = bisect_left(starts, last[1]), bisect_left(starts, unit.start)
            yield max(0.0, unit.start - last[1] - (sums[max(end, first)] - sums[first]))
        last = step, unit.span.end if seen.on_processor else unit.start
