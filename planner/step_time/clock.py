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

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from planner.devices.priors import prior
from planner.devices.specification import DeviceSpec
from planner.step_time.calibrated import CalibratedPrices
from planner.step_time.roofline import Efficiency
from planner.trace.operations import KINDS, MODEL_KINDS, Work, work
from planner.trace.table import PHASES, StepTrace

EXACT_POINTS = 64  # up to so many points every operation is walked through
KEPT_WORK = 16  # of a trace, sets of points
STRETCHES = 48
CHUNK = 4096
SETTLING_STEPS = 2  # before the one that counts
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
# of an operation that was itself timed: its scatter between one minute and the next
TIMED_SPREAD = 0.03
_PART = np.array(
    [
        {_FORWARD: 0, _TEACHER: 0, _RECOMPUTE: 1, _BACKWARD: 1, _OPTIMIZER: 2}[i]
        for i in range(len(PHASES))
    ]
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

    @property
    def host_bound(self) -> np.ndarray | bool:
        """Whether the host needs longer than the device: a faster device would not help."""
        return self.host_seconds > self.device_busy_seconds

    @property
    def bound(self) -> str:
        """``host`` or ``device``, of one point."""
        return "host" if self.host_bound else "device"


@dataclass(frozen=True)
class _Host:
    """Host seconds of each operation; which operations launch a kernel; which make the host
    wait."""

    seconds: np.ndarray  # float64 [n_ops]
    launches: np.ndarray  # bool [n_ops]
    waits: np.ndarray  # indices
    wait_seconds: float
    step_seconds: float


class StepClock:
    """Prices traces on one device, on the basis that ``spec.pricing`` names."""

    def __init__(self, spec: DeviceSpec):
        self.spec = spec
        self._costs = HostCosts(spec)

    def price(
        self,
        trace: StepTrace,
        dims: np.ndarray,
        *,
        precision: str,
        compiled: bool = False,
        device_seconds: np.ndarray | None = None,
    ) -> StepTime:
        """The time of a step at ``dims = trace.dims(...)`` [n_forms, *points].

        ``device_seconds`` [n_signatures, *points] replaces the price of one call of each signature.
        Raises QuestionError for a type of number whose peak has no source and that was not
        measured.
        """
        shape = dims.shape[1:]
        points = dims.reshape(dims.shape[0], -1)
        given = (
            None if device_seconds is None else device_seconds.reshape(len(trace.signatures), -1)
        )
        walk = (
            _added
            if self.spec.one_clock
            else _exact
            if points.shape[1] <= EXACT_POINTS
            else _stretched
        )
        chunks = []
        # a grid's arrays should stay in the processor's cache
        for start in range(0, max(points.shape[1], 1), CHUNK):
            part = points[:, start : start + CHUNK]
            done = _work(trace, part)
            each, sigma = (
                self._device(trace, part, done, precision, compiled)
                if given is None
                else (given[:, start : start + CHUNK], None)
            )
            host = self.host(trace, done, compiled)
            chunks.append(_columns(trace, done, each, walk(trace, host, each), sigma))
        return _step_time(
            np.concatenate(chunks, axis=1),
            _kinds(done),
            float(host.seconds.sum() + host.step_seconds),
            shape,
        )

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
        return each, sigma

    def host(self, trace: StepTrace, done: Work, compiled: bool = False) -> _Host:
        """Host time of each operation: it depends on the phase and the kind, not on the shapes."""
        costs = self._costs
        kinds = np.array([KINDS.index(kind) for kind in done.kinds])[trace.op_signature]
        view, wait = kinds == KINDS.index("view"), kinds == KINDS.index("synchronise")
        tensors = np.array(
            [
                max((sum(o.count for o in side) for side in (s.inputs, s.outputs)), default=0)
                for s in trace.signatures
            ]
        )
        seconds = costs.table[trace.op_phase, kinds]
        update = trace.op_phase == _OPTIMIZER
        seconds = seconds + np.where(
            update, tensors[trace.op_signature] * costs.of("tensor_seconds"), 0.0
        )
        python = np.isin(trace.op_phase, (_FORWARD, _TEACHER, _RECOMPUTE))
        if python.any():
            seconds[python] += (
                trace.meta.get("module_calls", 0) * costs.of("module_seconds") / python.sum()
            )
        if compiled:
            seconds = np.where(
                update,
                seconds,
                seconds
                * (
                    costs.measured("compile_host_share")
                    or prior(self.spec, "compile", "host_share")
                ),
            )
        return _Host(
            seconds,
            ~view & ~wait,
            np.flatnonzero(wait),
            costs.of("synchronise_seconds"),
            costs.of("step_seconds"),
        )


class HostCosts:
    """What the host needs for an operation of each kind in each phase: measured where the basis is
    a calibration, else the rows of kind ``host`` in ``profiles/priors/device.csv``."""

    def __init__(self, spec: DeviceSpec):
        self.spec = spec
        self._measured = (
            spec.calibration.host
            if spec.pricing != "datasheet" and spec.calibration is not None
            else {}
        )

    def measured(self, parameter: str) -> float | None:
        found = self._measured.get(parameter)
        if found is None and self._measured:
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
        table = np.empty((len(PHASES), len(KINDS)))
        for phase, (launch, view) in _COSTS.items():
            base = self.of(launch)
            for index, kind in enumerate(KINDS):
                own = self._measured.get(f"{launch}.{kind}")
                table[phase, index] = (
                    self.of(view) if kind == "view" else base if own is None else own * self._scale
                )
        return table


def _work(trace: StepTrace, dims: np.ndarray) -> Work:
    """What the operations do is the same on every device: kept with the trace for the next ones, of
    one grid or of few points."""
    kept, key = trace.__dict__.setdefault("_work", {}), dims.tobytes()
    if key not in kept:
        if dims.shape[1] > EXACT_POINTS or len(kept) >= KEPT_WORK:
            kept.clear()
        kept[key] = work(trace, dims)
    return kept[key]


# ---- one clock


def _added(trace: StepTrace, host: _Host, each: np.ndarray) -> np.ndarray:
    """Where the host computes itself: [3, n_points]."""
    parts, out = _PART[trace.op_phase], np.zeros((3, each.shape[1]))
    for part in range(3):
        mine = parts == part
        counts = np.bincount(trace.op_signature[mine], minlength=each.shape[0])
        out[part] = counts @ each + host.seconds[mine].sum()
    waits = host.wait_seconds * len(host.waits)
    out[0] += waits + host.step_seconds if not (parts == 2).any() else waits
    out[2] += host.step_seconds if (parts == 2).any() else 0.0
    return out


# ---- every operation, one point at a time


def _exact(trace: StepTrace, host: _Host, each: np.ndarray) -> np.ndarray:
    """Seconds of forward, backward and optimizer: [3, n_points]."""
    part = _PART[trace.op_phase]
    out = np.zeros((3, each.shape[1]))
    for point in range(each.shape[1]):
        device = each[trace.op_signature, point]
        clock, end, previous = 0.0, 0.0, 0.0
        for _ in range(SETTLING_STEPS + 1):
            previous = end
            ends, clock, end = _walk(host, device, clock + host.step_seconds, end)
        np.add.at(out[:, point], part, np.diff(ends, prepend=previous))
    return out


def _walk(
    host: _Host, device: np.ndarray, clock: float, end: float
) -> tuple[np.ndarray, float, float]:
    """(when each operation ends, the host's clock and the device's after the step)."""
    ends, position = np.empty(len(device)), 0
    for stop in [*host.waits.tolist(), len(device)]:
        part = slice(position, stop)
        if stop > position:
            enqueued, busy = clock + np.cumsum(host.seconds[part]), np.cumsum(device[part])
            gaps = np.where(host.launches[part], enqueued - (busy - device[part]), -np.inf)
            ends[part] = busy + np.maximum(end, np.maximum.accumulate(gaps))
            clock, end = enqueued[-1], ends[stop - 1]
        if stop < len(device):
            clock = max(clock + host.seconds[stop], end) + host.wait_seconds
            ends[stop] = end
        position = stop + 1
    return ends, clock, end


# ---- stretches of operations, all points at once


def _stretched(trace: StepTrace, host: _Host, each: np.ndarray) -> np.ndarray:
    """As ``_exact``, over stretches: [3, n_points]."""
    starts = _boundaries(trace, host)
    stops = np.append(starts[1:], trace.op_count)
    counts = np.zeros((len(starts), each.shape[0]))
    np.add.at(
        counts,
        (np.searchsorted(starts, np.arange(trace.op_count), side="right") - 1, trace.op_signature),
        1,
    )
    busy, waits = counts @ each, set(host.waits.tolist())
    out = np.zeros((3, each.shape[1]))
    clock, end = np.zeros(each.shape[1]), np.zeros(each.shape[1])
    for step in range(SETTLING_STEPS + 1):
        clock = clock + host.step_seconds
        for index, (start, stop) in enumerate(zip(starts, stops)):
            before, (clock, end) = (
                end,
                _stretch(trace, host, each, busy[index], clock, end, start, stop),
            )
            if stop - 1 in waits:
                clock = np.maximum(clock, end) + host.wait_seconds
            if step == SETTLING_STEPS:
                out[_PART[trace.op_phase[start]]] += end - before
    return out


def _stretch(trace: StepTrace, host: _Host, each, busy, clock, end, start: int, stop: int):
    """Either the device is late throughout, or the host: the last launch and its own time end the
    stretch."""
    enqueued = np.cumsum(host.seconds[start:stop])
    launched = np.flatnonzero(host.launches[start:stop])
    if launched.size:
        first, last = launched[0], launched[-1]
        end = np.maximum(
            np.maximum(end, clock + enqueued[first]) + busy,
            clock + enqueued[last] + each[trace.op_signature[start + last]],
        )
    return clock + enqueued[-1], end


def _boundaries(trace: StepTrace, host: _Host) -> np.ndarray:
    """First operations of the stretches: evenly spread, at each change of part, and after each wait
    of the host."""
    even = np.linspace(0, trace.op_count, STRETCHES, endpoint=False).astype(int)
    changes = np.flatnonzero(np.diff(_PART[trace.op_phase])) + 1
    waits = host.waits[host.waits < trace.op_count - 1] + 1
    # np.unique imports numpy.ma, a tenth of numpy
    return np.array(sorted({0, *even.tolist(), *changes.tolist(), *waits.tolist()}))


# ---- the answer


def _kinds(done: Work) -> tuple[str, ...]:
    return tuple(kind for kind in KINDS if kind in done.kinds)


def _columns(
    trace: StepTrace, done: Work, each: np.ndarray, parts: np.ndarray, sigma: np.ndarray | None
) -> np.ndarray:
    """Rows: forward, backward, optimizer seconds; model and hardware FLOP; the busy time's spread;
    busy seconds of each kind: [6 + n_kinds, n_points]."""
    counts, kinds = trace.counts, np.array(done.kinds)
    modelled = np.isin(kinds, MODEL_KINDS)
    hardware = counts.sum(axis=1) - counts[:, _OPTIMIZER]
    flops = [
        n[modelled] @ done.flops[modelled] for n in (hardware - counts[:, _RECOMPUTE], hardware)
    ]
    total = counts.sum(axis=1)
    return np.vstack(
        [
            parts,
            *flops,
            _spread(total, kinds, each, sigma),
            *(total[kinds == kind] @ each[kinds == kind] for kind in _kinds(done)),
        ]
    )


def _spread(
    counts: np.ndarray, kinds: np.ndarray, each: np.ndarray, sigma: np.ndarray | None
) -> np.ndarray:
    """Within a kind the curves err together, kinds apart: relative standard deviation of the sum,
    [n_points]."""
    if sigma is None:
        return np.zeros(each.shape[1])
    busy = counts[:, None] * each
    variance = sum(
        (busy[kinds == kind] * sigma[kinds == kind]).sum(axis=0) ** 2 for kind in set(kinds)
    )
    return np.sqrt(variance) / np.maximum(busy.sum(axis=0), np.finfo(float).tiny)


def _step_time(
    columns: np.ndarray, kinds: tuple[str, ...], host_seconds: float, shape: tuple
) -> StepTime:
    def shaped(values: np.ndarray):
        return values.reshape(shape) if shape else float(values[0])

    parts, flops, sigma, by_kind = (
        columns[:3],
        columns[3:5],
        columns[5],
        dict(zip(kinds, columns[6:])),
    )
    busy = columns[6:].sum(axis=0)
    unmodelled = by_kind.get("unmodelled", np.zeros_like(busy)) / np.maximum(
        busy, np.finfo(float).tiny
    )
    return StepTime(
        shaped(parts.sum(axis=0)),
        *(shaped(p) for p in parts),
        shaped(busy),
        host_seconds,
        {kind: shaped(value) for kind, value in by_kind.items()},
        *(shaped(f) for f in flops),
        shaped(unmodelled),
        shaped(sigma),
    )
