"""The time of a step: two clocks. The host enqueues operations one by one, the device runs them in
order, and whichever is late waits: ``start_i = max(end_{i-1}, host_i)``, a cumulative sum and a
running maximum. A question to the device's data (``Tensor.item``) makes the host wait for the
device. Steps follow each other without a pause, so the host runs ahead over the step's end where it
can: the time of a step is that of one in the steady state.

A processor that trains is host and device in one (``DeviceSpec.one_clock``): there the times add.

For a few points every operation is walked through; for grids the sequence is cut into some 48
stretches, within each of which the device is taken to be busy without gaps or to wait for the host
throughout.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import numpy as np

from planner.devices.specification import DeviceSpec
from planner.operations.registry import UNMODELLED, Work, kind_named, kinds, work
from planner.step_time.calibrated import CalibratedPrices
from planner.step_time.host import HostCosts, HostTime
from planner.step_time.host_charges import WHOLE
from planner.step_time.roofline import Efficiency
from planner.step_time.walks import added, beside, stretched, walked
from planner.trace.table import PHASES, StepTrace

EXACT_POINTS = 64  # up to so many points every operation is walked through
KEPT_WORK = 16  # of a trace, sets of points
KEPT_TIMES = 512  # of a trace, prices of such sets: a survey asks for some dozens of devices
CHUNK = 4096
ATTENTION = "attention"  # the kind of fused attention
_RECOMPUTE, _OPTIMIZER = PHASES.index("recompute"), PHASES.index("optimizer")
# of an operation that was itself timed: its scatter between one minute and the next
TIMED_SPREAD = 0.03
Kept = TypeVar("Kept")


class StackKernels(NamedTuple):
    """What a stack's kernels are beside those of today's torch. ``fused_share``: what kernels
    written by hand leave of the time of operations that fuse with their neighbours;
    ``attention_speed``: of fused attention, over today's."""

    fused_share: float = 1.0
    attention_speed: float = 1.0


#: Today's.
OF_TODAY = StackKernels()
#: What is summed or read of a priced grid, one value a point.
_FIGURES = (
    "seconds",
    "forward_seconds",
    "backward_seconds",
    "optimizer_seconds",
    "device_busy_seconds",
    "model_flops",
    "hardware_flops",
    "unmodelled_share",
    "sigma_log",
)


@dataclass(frozen=True)
class StepTime:
    """Seconds of one steady step: floats for one point, arrays [*points] for a grid. ``seconds`` is
    the sum of forward (with a teacher's), backward (with recomputation) and optimizer, as the
    device's clock shows them. ``device_busy_seconds`` is the sum of the kernels and of ``by_kind``;
    ``host_seconds`` what the host needs when it never waits. ``model_flops``: matrix products,
    convolutions and attention of the step without recomputation; ``hardware_flops``: with it.
    ``unmodelled_share``: of the device's busy time, from operations without a formula.
    ``sigma_log``: standard deviation of the busy time's logarithm that the curves' own errors
    amount to (families err independently of each other); 0 from a datasheet, which does not know
    it."""

    seconds: np.ndarray | float
    forward_seconds: np.ndarray | float
    backward_seconds: np.ndarray | float
    optimizer_seconds: np.ndarray | float
    device_busy_seconds: np.ndarray | float
    host_seconds: float
    by_kind: dict[str, np.ndarray | float]
    model_flops: np.ndarray | float
    hardware_flops: np.ndarray | float
    unmodelled_share: np.ndarray | float
    sigma_log: np.ndarray | float = 0.0

    def column(self, index: int) -> StepTime:
        """One point of a priced grid."""

        def at(value: np.ndarray | float) -> float:
            return float(np.asarray(value)[index]) if np.ndim(value) else float(value)

        figures = {name: at(getattr(self, name)) for name in _FIGURES}
        by_kind = {kind: at(seconds) for kind, seconds in self.by_kind.items()}
        return replace(self, **figures, by_kind=by_kind)

    @property
    def host_bound(self) -> np.ndarray | bool:
        """Whether the host needs longer than the device: a faster device would not help."""
        return self.host_seconds > self.device_busy_seconds

    @property
    def bound(self) -> str:
        """``host`` or ``device``, of one point."""
        return "host" if self.host_bound else "device"


class StepClock:
    """Prices traces on one device, on the basis that ``spec.pricing`` names."""

    def __init__(self, spec: DeviceSpec, kernels: StackKernels = OF_TODAY):
        self.spec, self.kernels = spec, kernels
        self._costs = HostCosts(spec)

    def price(
        self,
        trace: StepTrace,
        dims: np.ndarray,
        *,
        precision: str,
        compiled: bool = False,
        device_seconds: np.ndarray | None = None,
        added_host_seconds: float = 0.0,
        in_loop: bool = True,
    ) -> StepTime:
        """The time of a step at ``dims = trace.dims(...)`` [n_forms, *points].

        ``device_seconds`` [n_signatures, *points] replaces the price of one call of each signature;
        ``added_host_seconds``: what the host does once a step beside the step itself; ``in_loop``:
        with what a training loop does around a step, else the operations alone.
        Raises QuestionError for a type of number whose peak has no source and that was not
        measured. Prices without ``device_seconds`` are kept with the trace.
        """

        compiled = compiled and not has_kernels(trace)

        def priced() -> StepTime:
            return self._priced(
                trace, dims, precision, compiled, device_seconds, added_host_seconds, in_loop
            )

        if device_seconds is not None:
            return priced()
        asked = (precision, compiled, added_host_seconds, in_loop)
        return self.kept(trace, "step time", dims, asked, priced)

    def kept(
        self,
        trace: StepTrace,
        topic: str,
        dims: np.ndarray,
        asked: tuple[object, ...],
        make: Callable[[], Kept],
    ) -> Kept:
        """What this clock makes of a trace at a point, made once: many questions ask for the same
        step. Where operations are timed for real every call makes its own."""
        if self.spec.timer is not None:
            return make()
        measured = self.spec.calibration
        # where a device stands changes none of its own operations
        alone = replace(self.spec, machine=None) if self.spec.machine else self.spec
        key = (alone, id(measured), self.kernels, dims.shape, dims.tobytes(), asked)
        # what was measured is held, so that its identity stays its own
        return trace.memo.of(topic, key, lambda: (measured, make()), most=KEPT_TIMES)[1]

    def _priced(
        self,
        trace: StepTrace,
        dims: np.ndarray,
        precision: str,
        compiled: bool,
        device_seconds: np.ndarray | None,
        added_host_seconds: float,
        in_loop: bool,
    ) -> StepTime:
        shape = dims.shape[1:]
        points = dims.reshape(dims.shape[0], -1)
        given = (
            None if device_seconds is None else device_seconds.reshape(len(trace.signatures), -1)
        )
        walk = (
            added
            if self.spec.one_clock
            else walked
            if points.shape[1] <= EXACT_POINTS
            else stretched
        )
        # a grid's arrays should stay in the processor's cache
        starts = range(0, max(points.shape[1], 1), CHUNK)
        first = work_at(trace, points[:, :CHUNK])
        host = self.host(trace, first, compiled)
        around = host.step_seconds if in_loop else 0.0
        host = replace(host, step_seconds=around + added_host_seconds)
        chunks: list[np.ndarray] = []
        for start in starts:
            part = points[:, start : start + CHUNK]
            done = work_at(trace, part)
            each, sigma = (
                self._device(trace, part, done, precision, compiled)
                if given is None
                else (given[:, start : start + CHUNK], None)
            )
            aside = np.array([kind_named(kind).beside for kind in done.kinds])
            parts = walk(trace, host, np.where(aside[:, None], 0.0, each) if aside.any() else each)
            if aside.any():
                parts, each = beside(trace, each, aside, parts)
            chunks.append(_columns(trace, done, each, parts, sigma))
        return self._sure(
            _step_time(np.concatenate(chunks, axis=1), _kinds(first), host.total_seconds, shape)
        )

    def _sure(self, time: StepTime) -> StepTime:
        """A step that waits for the host is no surer than the host's costs were of the steps of
        small models that they were not fitted to."""
        error = self._costs.measured(WHOLE + "error")
        if not error:
            return time
        sigma = np.where(time.host_bound, np.maximum(time.sigma_log, error), time.sigma_log)
        return replace(time, sigma_log=sigma if np.ndim(sigma) else float(sigma))

    def device_seconds(
        self, trace: StepTrace, dims: np.ndarray, precision: str, compiled: bool = False
    ) -> np.ndarray:
        """Device seconds of one call of each signature at ``dims`` [n_forms, *points], as ``price``
        takes them: [n_signatures, *points]. Raises as ``price``."""
        points = dims.reshape(dims.shape[0], -1)
        compiled = compiled and not has_kernels(trace)
        each, _ = self._device(trace, points, work_at(trace, points), precision, compiled)
        return each.reshape(len(each), *dims.shape[1:])

    def _device(
        self, trace: StepTrace, dims: np.ndarray, done: Work, precision: str, compiled: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """(seconds of one call of each signature, their spread where it is known)."""
        if self.spec.pricing == "datasheet" or self.spec.calibration is None:
            each, sigma = (
                Efficiency(self.spec, precision, compiled).seconds(trace, dims, done),
                None,
            )
        else:
            each, sigma = CalibratedPrices(
                self.spec, self.spec.calibration, precision, compiled
            ).seconds(trace, dims, done)
        if self.spec.timer is not None and dims.shape[1] == 1 and not compiled:
            timed = self.spec.timer(trace, dims[:, 0], precision)  # NaN where it cannot be timed
            known = np.isfinite(timed)
            each[known, 0] = timed[known]
            if sigma is not None:
                sigma[known] = TIMED_SPREAD
        return self._by_stack(trace, each, done, compiled), sigma

    def _by_stack(
        self, trace: StepTrace, each: np.ndarray, done: Work, compiled: bool
    ) -> np.ndarray:
        """With the kernels that the stack has in place of those of today's torch."""
        share, speed = self.kernels
        if share != 1.0 and not compiled and not has_written_kernels(trace):
            each = each.copy()
            each[[kind_named(kind).fusable for kind in done.kinds]] *= share
        if speed != 1.0 and self.spec.pricing == "datasheet":
            each = each.copy()
            each[[kind == ATTENTION for kind in done.kinds]] /= speed
        return each

    def host(self, trace: StepTrace, done: Work, compiled: bool = False) -> HostTime:
        """Host time of each operation."""
        compiled = compiled and not has_kernels(trace)
        return self._costs.time(trace, done, compiled)


def has_kernels(trace: StepTrace) -> bool:
    """Whether the kernels that a compiler makes stand in the trace itself: then its operations are
    priced as they are, and nothing is taken off for what would be fused."""
    return trace.memo.of(
        "has kernels",
        None,
        lambda: any(s.op.startswith("planner.fused.") for s in trace.signatures),
    )


def has_written_kernels(trace: StepTrace) -> bool:
    """Whether kernels written by hand stand in the trace itself."""
    return trace.memo.of(
        "has written kernels",
        None,
        lambda: any(s.op.startswith("planner.kernel_") for s in trace.signatures),
    )


def work_at(trace: StepTrace, dims: np.ndarray) -> Work:
    """What the operations do is the same on every device: kept with the trace for the next ones, of
    one grid or of few points."""
    return trace.memo.of(
        "work",
        dims.tobytes(),
        lambda: work(trace, dims),
        most=KEPT_WORK,
        alone=dims.shape[1] > EXACT_POINTS,
    )


# ---- the answer


def _kinds(done: Work) -> tuple[str, ...]:
    return tuple(kind for kind in kinds() if kind in done.kinds)


def _columns(
    trace: StepTrace, done: Work, each: np.ndarray, parts: np.ndarray, sigma: np.ndarray | None
) -> np.ndarray:
    """Rows: forward, backward, optimizer seconds; model and hardware FLOP; the busy time's spread;
    busy seconds of each kind: [6 + n_kinds, n_points]."""
    counts, names = trace.counts, np.array(done.kinds)
    modelled = np.array([kind_named(kind).model_work for kind in done.kinds])
    hardware = counts.sum(axis=1) - counts[:, _OPTIMIZER]
    flops = [
        n[modelled] @ done.flops[modelled] for n in (hardware - counts[:, _RECOMPUTE], hardware)
    ]
    total = counts.sum(axis=1)
    return np.vstack(
        [
            parts,
            *flops,
            _spread(total, names, each, sigma),
            *(total[names == kind] @ each[names == kind] for kind in _kinds(done)),
        ]
    )


def _spread(
    counts: np.ndarray, names: np.ndarray, each: np.ndarray, sigma: np.ndarray | None
) -> np.ndarray:
    """Within a kind the curves err together, kinds apart: relative standard deviation of the sum,
    [n_points]."""
    if sigma is None:
        return np.zeros(each.shape[1:])
    busy = counts[:, None] * each
    variance = sum(
        (busy[names == kind] * sigma[names == kind]).sum(axis=0) ** 2
        for kind in dict.fromkeys(names)  # in the same order at every run, as a sum needs
    )
    return np.sqrt(variance) / np.maximum(busy.sum(axis=0), np.finfo(float).tiny)


def _step_time(
    columns: np.ndarray, names: tuple[str, ...], host_seconds: float, shape: tuple[int, ...]
) -> StepTime:
    def shaped(values: np.ndarray) -> np.ndarray | float:
        return values.reshape(shape) if shape else float(values[0])

    parts, flops, sigma, by_kind = (
        columns[:3],
        columns[3:5],
        columns[5],
        dict(zip(names, columns[6:])),
    )
    busy = columns[6:].sum(axis=0)
    unmodelled = by_kind.get(UNMODELLED, np.zeros_like(busy)) / np.maximum(
        busy, np.finfo(float).tiny
    )
    forward, backward, optimizer = (shaped(part) for part in parts)
    model_flops, hardware_flops = (shaped(f) for f in flops)
    return StepTime(
        seconds=shaped(parts.sum(axis=0)),
        forward_seconds=forward,
        backward_seconds=backward,
        optimizer_seconds=optimizer,
        device_busy_seconds=shaped(busy),
        host_seconds=host_seconds,
        by_kind={kind: shaped(value) for kind, value in by_kind.items()},
        model_flops=model_flops,
        hardware_flops=hardware_flops,
        unmodelled_share=shaped(unmodelled),
        sigma_log=shaped(sigma),
    )
