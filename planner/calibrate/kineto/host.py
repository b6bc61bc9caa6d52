"""What the host took for a recorded step, as costs of a device profile: by the names of the rows of
kind ``host`` in ``profiles/priors/device.csv``.

A profiler writes down every operation while the host runs it, with stacks several times as long as
the operation takes, and no trace tells by how much. So these are upper bounds, and a profile takes
them only where that is asked for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
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
    """Records of kind ``host``: of each phase the host's time, less views and waits (on a processor
    less the operations' own), shared by the operations that launch something."""
    views = _views(seen)
    for phase, spans in views.items():
        if phase in _VIEWS and spans:
            yield _record(_VIEWS[phase], median(span.seconds for span in spans))
    taken = _taken(seen)
    for phase in PHASES:
        units = [unit for _, unit in seen.units if unit.phase == phase]
        arranged = sum(span.seconds for span in views.get(phase, ()))
        own = sum(unit.seconds for unit in units) if seen.on_processor else 0.0
        rest = taken.get(phase, 0.0) - arranged - own
        if units and rest > 0:
            yield _record(f"{phase}_seconds", rest / len(units))
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


def _taken(seen: Recorded) -> dict[str, float]:
    """Seconds of the host by phase, waits left out: from one operation's beginning to that of the
    next of its phase, so that Python between them counts."""
    spent: dict[str, float] = defaultdict(float)
    last: dict[str, tuple[int, float]] = {}
    for step, unit in sorted(seen.units, key=lambda placed: placed[1].start):
        before = last.get(unit.phase)
        if before is not None and before[0] == step:
            spent[unit.phase] += unit.start - before[1]
        last[unit.phase] = step, unit.start
    for span in seen.document.host:
        if (
            span.category in RUNTIME
            and _WAITS in span.name
            and seen.windows.at(span.start) is not None
        ):
            phase = phase_of([s.name for s in span.enclosing])
            spent[phase] = max(0.0, spent[phase] - span.seconds)
    return spent
