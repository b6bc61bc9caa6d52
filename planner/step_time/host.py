"""What the host needs to enqueue the operations of a step, by phase and kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from planner.devices.priors import prior
from planner.devices.specification import DeviceSpec
from planner.operations.registry import Work, kinds
from planner.trace.table import PHASES, StepTrace

_FORWARD, _TEACHER, _RECOMPUTE, _BACKWARD, _OPTIMIZER = (
    PHASES.index(p) for p in ("forward", "teacher", "recompute", "backward", "optimizer")
)
#: Parameters of an operation that launches a kernel and of a view, by phase.
_COSTS = {
    _FORWARD: ("forward_seconds", "view_forward_seconds"),
    _RECOMPUTE: ("forward_seconds", "view_forward_seconds"),
    _TEACHER: ("no_grad_seconds", "view_forward_seconds"),
    _BACKWARD: ("backward_seconds", "view_backward_seconds"),
    _OPTIMIZER: ("optimizer_seconds", "view_backward_seconds"),
}


@dataclass(frozen=True)
class HostTime:
    """Host seconds of each operation; which operations launch a kernel; which make the host
    wait."""

    seconds: np.ndarray  # float64 [n_ops]
    launches: np.ndarray  # bool [n_ops]
    waits: np.ndarray  # indices
    wait_seconds: float
    step_seconds: float

    @property
    def total_seconds(self) -> float:
        """Of a step in which the host never waits."""
        return float(self.seconds.sum() + self.step_seconds)


class HostCosts:
    """What the host needs for an operation of each kind in each phase: measured where the basis is
    a calibration, else the rows of kind ``host`` in ``profiles/priors/device.csv``."""

    def __init__(self, spec: DeviceSpec):
        self.spec = spec
        self._measured: Mapping[str, float] = (
            spec.calibration.host
            if spec.pricing != "datasheet" and spec.calibration is not None
            else {}
        )

    def measured(self, parameter: str) -> float | None:
        found = self._measured.get(parameter)
        if found is None and self._measured and self.spec.calibration is not None:
            found = self.spec.calibration.facts.get(parameter)
        return found

    def of(self, parameter: str) -> float:
        """Seconds. Raises ProfileError for a parameter without a row."""
        found = self._measured.get(parameter)
        return (prior(self.spec, "host", parameter) if found is None else found) * self._scale

    @property
    def _scale(self) -> float:
        """What whole steps of a small model were measured to take against the sum of the single
        costs."""
        return self._measured.get("scale", 1.0)

    @cached_property
    def table(self) -> np.ndarray:
        """Seconds of an operation: [n_phases, n_kinds]."""
        table = np.empty((len(PHASES), len(kinds())))
        for phase, (launch, view) in _COSTS.items():
            base = self.of(launch)
            for index, kind in enumerate(kinds().values()):
                own = self._measured.get(f"{launch}.{kind.name}")
                if not (kind.runs_kernel or kind.host_waits):
                    table[phase, index] = self.of(view)
                else:
                    table[phase, index] = base if own is None else own * self._scale
        return table

    def time(self, trace: StepTrace, done: Work, compiled: bool = False) -> HostTime:
        """Host time of each operation: it depends on the phase and the kind, not on the shapes."""
        place = {name: index for index, name in enumerate(kinds())}
        index = np.array([place[name] for name in done.kinds])[trace.op_signature]
        each = [kinds()[name] for name in done.kinds]
        launches = np.array([kind.runs_kernel for kind in each], dtype=bool)[trace.op_signature]
        waits = np.array([kind.host_waits for kind in each], dtype=bool)[trace.op_signature]
        seconds = self.table[trace.op_phase, index]
        update = trace.op_phase == _OPTIMIZER
        seconds = seconds + np.where(
            update, _tensors(trace)[trace.op_signature] * self.of("tensor_seconds"), 0.0
        )
        python = np.isin(trace.op_phase, (_FORWARD, _TEACHER, _RECOMPUTE))
        if python.any():
            seconds[python] += (
                trace.meta.get("module_calls", 0) * self.of("module_seconds") / python.sum()
            )
        if compiled:
            share = self.measured("compile_host_share") or prior(self.spec, "compile", "host_share")
            seconds = np.where(update, seconds, seconds * share)
        return HostTime(
            seconds,
            launches,
            np.flatnonzero(waits),
            wait_seconds=self.of("synchronise_seconds"),
            step_seconds=self.of("step_seconds"),
        )


def _tensors(trace: StepTrace) -> np.ndarray:
    """Tensors of each signature's longer side: [n_signatures]."""

    def counted() -> np.ndarray:
        sides = ((s.inputs, s.outputs) for s in trace.signatures)
        return np.array([max(sum(o.count for o in side) for side in both) for both in sides])

    return trace.memo.of("tensors", None, counted)
