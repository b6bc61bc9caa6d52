"""Every operation of a step on the two clocks: when the host enqueues it, when the device runs it.

The device's seconds are those of ``step_time.clock``: the same walk, looked at operation by
operation, so that they sum to the answer's step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from planner.devices.specification import DeviceSpec
from planner.errors import FieldName, QuestionError
from planner.operations.registry import Work
from planner.parallel.data_parallel import gradient_seconds
from planner.parallel.plan import ParallelPlan
from planner.plan.around.layers import layer_values
from planner.plan.around.parted import waited_seconds
from planner.plan.around.sharing import sharing_values
from planner.plan.inputs.hardware import RentedDevice
from planner.plan.inputs.of_its_day import stack_kernels
from planner.plan.steps.setting import Setting
from planner.question import Question
from planner.question.stack import stack_of
from planner.step_time.clock import StepClock, work_at
from planner.step_time.host import HostTime
from planner.step_time.walks import SETTLING_STEPS, walk
from planner.trace.table import PHASES, StepTrace

OPTIMIZER = PHASES.index("optimizer")


@dataclass(frozen=True)
class Clocked:
    """One micro-batch with its update in the steady state. Arrays [n_ops] of seconds since the
    device ended the step before: ``start`` and ``end`` on the device, ``host_start`` and
    ``host_end`` on the host, which may run ahead. ``busy``: what the device computes of an
    operation; ``spans``: by how much it moves the device's clock, waiting included. ``loop``: the
    host's own time around the step, before its first operation. ``factor``: what measured runs
    taught; seconds of an answer are these times it. ``host_runs_ahead``: host and device have
    clocks of their own."""

    trace: StepTrace
    dims: np.ndarray
    done: Work
    start: np.ndarray
    end: np.ndarray
    host_start: np.ndarray
    host_end: np.ndarray
    busy: np.ndarray
    spans: np.ndarray
    launches: np.ndarray
    loop_seconds: float
    accumulation: int
    exchange_seconds: float
    host_runs_ahead: bool = True
    factor: float = 1.0

    @property
    def is_update(self) -> np.ndarray:
        """Which operations the last micro-batch alone runs."""
        return self.trace.op_phase == OPTIMIZER

    @property
    def times(self) -> np.ndarray:
        """How often a step runs each operation: [n_ops]."""
        return np.where(self.is_update, 1, self.accumulation)

    @property
    def micro_seconds(self) -> float:
        return float(self.spans[~self.is_update].sum())

    @property
    def update_seconds(self) -> float:
        return float(self.spans[self.is_update].sum())

    @property
    def seconds(self) -> float:
        """Of the whole optimizer step, before ``factor``."""
        total = self.accumulation * self.micro_seconds + self.update_seconds
        return total + self.exchange_seconds


def clocked(
    question: Question,
    setting: Setting,
    rented: RentedDevice,
    *,
    longest: bool = False,
) -> Clocked:
    """The step of a setting at the mean padded batch, as the answer shows it; ``longest``: at the
    longest, which memory is of, and without what measured runs taught. Raises QuestionError for a
    pipeline, whose stages' steps differ."""
    if rented.parallel.pp > 1:
        raise QuestionError(
            "the stages of a pipeline are not explained operation by operation yet",
            where=FieldName("pipeline_parallel"),
            mend="Ask without it, or planner estimate for the whole",
        )
    point = {"B": setting.micro_batch, **(setting.longest if longest else setting.mean)}
    source = setting.source.largest if longest else setting.source
    trace = source.at(**point)
    spec, recipe = rented.spec, setting.recipe
    clock = StepClock(spec, stack_kernels(stack_of(question.stack), setting.source.facts))
    dims = trace.dims(**point)
    done = work_at(trace, dims.reshape(dims.shape[0], -1))
    each = clock.device_seconds(trace, dims, recipe.precision, recipe.compile)
    host, busy = clock.host(trace, done, recipe.compile), each[trace.op_signature]
    starts, ends, host_starts, host_ends = (
        _on_one_clock(trace, host, busy) if spec.one_clock else _on_two_clocks(host, busy)
    )
    found = Clocked(
        trace=trace,
        dims=dims,
        done=done,
        start=starts,
        end=ends,
        host_start=host_starts,
        host_end=host_ends,
        busy=busy,
        spans=np.diff(ends, prepend=0.0),
        launches=host.launches,
        loop_seconds=host.step_seconds,
        accumulation=setting.accumulation,
        host_runs_ahead=not spec.one_clock,
        exchange_seconds=_exchanged(trace, ends, setting, spec, rented.parallel),
    )
    return found if longest else _corrected(found, setting.step.seconds.p50)


def _corrected(found: Clocked, seconds: float) -> Clocked:
    return replace(found, factor=seconds / found.seconds if found.seconds else 1.0)


def _exchanged(
    trace: StepTrace, ends: np.ndarray, setting: Setting, spec: DeviceSpec, parallel: ParallelPlan
) -> float:
    """What summing the gradients over devices adds to a step, and what is gathered of shared
    state."""
    layers = layer_values(setting, spec).get("layers", {})
    waits = layers.get("tensor_seconds", 0.0) + waited_seconds(setting, spec)
    if parallel.sharding:
        return waits + sharing_values(setting, spec)["exposed_seconds"]
    backward = np.isin(trace.op_phase, (PHASES.index("backward"), PHASES.index("recompute")))
    seconds = float(np.diff(ends, prepend=0.0)[backward].sum())
    return waits + gradient_seconds(trace, parallel, spec, seconds)


_Times = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _on_two_clocks(host: HostTime, busy: np.ndarray) -> _Times:
    """The step after those in which the clocks settle, as ``step_time.walks.walked``."""
    ends, clock, end, before, begun = np.empty(0), 0.0, 0.0, 0.0, 0.0
    for _ in range(SETTLING_STEPS + 1):
        before, begun = end, clock + host.step_seconds
        ends, clock, end = walk(host, busy, begun, end)
    host_starts, host_ends = _enqueued(host, ends, begun)
    return ends - busy - before, ends - before, host_starts - before, host_ends - before


def _enqueued(host: HostTime, ends: np.ndarray, clock: float) -> tuple[np.ndarray, np.ndarray]:
    """When the host begins and ends each operation; where it waits it ends after the device."""
    starts, stops, position = np.empty(len(ends)), np.empty(len(ends)), 0
    for wait in [*host.waits.tolist(), len(ends)]:
        part = slice(position, wait)
        stops[part] = clock + np.cumsum(host.seconds[part])
        starts[part] = stops[part] - host.seconds[part]
        clock = float(stops[wait - 1]) if wait > position else clock
        if wait < len(ends):
            starts[wait] = clock
            clock = max(clock + float(host.seconds[wait]), float(ends[wait])) + host.wait_seconds
            stops[wait] = clock
        position = wait + 1
    return starts, stops


def _on_one_clock(trace: StepTrace, host: HostTime, busy: np.ndarray) -> _Times:
    """A processor enqueues and computes one operation after another, as ``walks.added``: what waits
    take stands before the first, the loop's own time in the last."""
    ends = np.cumsum(host.seconds + busy) + host.wait_seconds * len(host.waits)
    host_ends = ends - busy
    host_starts, starts = host_ends - host.seconds, host_ends.copy()
    update = np.flatnonzero(trace.op_phase == OPTIMIZER)
    if len(ends):
        ends[int(update[-1]) if update.size else -1 :] += host.step_seconds
    return starts, ends, host_starts, host_ends
