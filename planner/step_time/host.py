"""What the host needs to enqueue the operations of a step, by phase and kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from planner.devices.priors import prior
from planner.devices.specification import DeviceSpec
from planner.operations.registry import Work, kinds
from planner.step_time.host_charges import (
    BACKWARD,
    FORWARD,
    OPTIMIZER,
    PARTS,
    RECOMPUTE,
    TEACHER,
    WHOLE,
    Operations,
    charges,
    recorded_share,
    seconds_of,
)
from planner.trace.table import PHASES, StepTrace

#: Parameters of an operation that launches a kernel and of a view, by phase.
_COSTS = {
    FORWARD: ("forward_seconds", "view_forward_seconds"),
    RECOMPUTE: ("forward_seconds", "view_forward_seconds"),
    TEACHER: ("no_grad_seconds", "view_forward_seconds"),
    BACKWARD: ("backward_seconds", "view_backward_seconds"),
    OPTIMIZER: ("optimizer_seconds", "view_backward_seconds"),
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
    a calibration, else the rows of kind ``host`` in ``profiles/priors/device.csv``.

    A calibration knows the costs of single operations, timed in loops, and those of whole steps
    (``host_charges.py``), which say what the single ones come to between the lines of a model.
    """

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
        """Of profiles that know one step of a small model alone, by its ratio to the sum of the
        single costs."""
        return 1.0 if self.whole else self._measured.get("scale", 1.0)

    @cached_property
    def whole(self) -> dict[str, float]:
        """What whole steps were measured to cost, by the names of ``PARTS``; empty where none
        ran."""
        names = [name for part in PARTS.values() for name in part]
        found = {name: self._measured.get(WHOLE + name) for name in names}
        return {name: value for name, value in found.items() if value is not None}

    @property
    def no_grad_seconds(self) -> float:
        """Of an operation in its place, between those of a model that nothing is recorded of."""
        alone = self.of("no_grad_seconds")
        if not self.whole:
            return alone
        return self.whole["forward_factor"] * alone + self.whole["launch_seconds"]

    @cached_property
    def table(self) -> np.ndarray:
        """Seconds of an operation in a loop of its own: [n_phases, n_kinds]."""
        return self._table(_COSTS)

    @cached_property
    def _ungraded(self) -> np.ndarray:
        """As ``table``, no operation recorded by autograd."""
        bare = _COSTS[TEACHER]
        return self._table(_COSTS | {FORWARD: bare, RECOMPUTE: bare})

    def _table(self, costs: Mapping[int, tuple[str, str]]) -> np.ndarray:
        table = np.empty((len(PHASES), len(kinds())))
        for phase, (launch, view) in costs.items():
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
        index = _kinds_of(trace, done)
        each = list(kinds().values())
        launches = np.array([kind.runs_kernel for kind in each], dtype=bool)[index]
        waits = np.array([kind.host_waits for kind in each], dtype=bool)[index]
        seconds = self._whole(trace, done) if self.whole else self._single(trace, index)
        if compiled:
            share = self.measured("compile_host_share") or prior(self.spec, "compile", "host_share")
            seconds = np.where(trace.op_phase == OPTIMIZER, seconds, seconds * share)
        return HostTime(
            seconds,
            launches,
            np.flatnonzero(waits),
            wait_seconds=self.of("synchronise_seconds"),
            step_seconds=self.of("step_seconds"),
        )

    def charges(self, trace: StepTrace, done: Work) -> dict[str, np.ndarray]:
        """How often each operation pays each cost of a whole step: ``host_charges.charges``."""
        index = _kinds_of(trace, done)
        launches = np.array([kind.runs_kernel for kind in kinds().values()], dtype=bool)[index]
        operations = Operations(
            trace.op_phase,
            launches,
            self._ungraded[trace.op_phase, index],
            _tensors(trace)[trace.op_signature],
        )
        return charges(trace, operations, self._recorded(trace))

    def _recorded(self, trace: StepTrace) -> float:
        return recorded_share(trace, prior(self.spec, "host", "backward_operations_a_node"))

    def _whole(self, trace: StepTrace, done: Work) -> np.ndarray:
        return seconds_of(self.charges(trace, done), self.whole)

    def _single(self, trace: StepTrace, index: np.ndarray) -> np.ndarray:
        """Of single operations, and the modules around them."""
        phase, recorded = trace.op_phase, self._recorded(trace)
        seconds = self.table[phase, index]
        forward = phase == FORWARD
        seconds[forward] = (
            recorded * seconds[forward] + (1 - recorded) * self._ungraded[FORWARD, index[forward]]
        )
        seconds = seconds + np.where(
            phase == OPTIMIZER,
            _tensors(trace)[trace.op_signature] * self.of("tensor_seconds"),
            0.0,
        )
        python = np.isin(phase, (FORWARD, TEACHER, RECOMPUTE))
        if python.any():
            seconds[python] += (
                trace.meta.get("module_calls", 0) * self.of("module_seconds") / python.sum()
            )
        return seconds


def _kinds_of(trace: StepTrace, done: Work) -> np.ndarray:
    """Which kind each operation is of, by its place among all: [n_ops]."""
    place = {name: index for index, name in enumerate(kinds())}
    return np.array([place[name] for name in done.kinds])[trace.op_signature]


def _tensors(trace: StepTrace) -> np.ndarray:
    """Tensors of each signature's longer side: [n_signatures]."""

    def counted() -> np.ndarray:
        sides = ((s.inputs, s.outputs) for s in trace.signatures)
        return np.array([max(sum(o.count for o in side) for side in both) for both in sides])

    return trace.memo.of("tensors", None, counted)
