"""A step as a trainer's loop runs it: the loss read after every micro-batch, all gradients clipped
before the update, and the host's own work around both.

The operations are put into the step's trace, so that they are priced as every other one is, on the
same two clocks: reading the loss makes the host wait for the device, and what the host does from
then on until the next kernel is time that the device stands still.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from planner.operations.averaging import averaging
from planner.operations.clipping import clipping, update_at
from planner.step_time.clock import StepClock
from planner.trace.table import PHASES, Operand, Signature, StepTrace

_OPTIMIZER = PHASES.index("optimizer")
_BACKWARD = PHASES.index("backward")
_NUMBER = Operand((), "float32")
#: Questions that transformers' Trainer asks of a micro-batch's loss: no number? infinite?
QUESTIONS = 2


@dataclass(frozen=True)
class TrainerWork:
    """What a trainer does beside a step. ``reads_loss``: the host waits for every micro-batch;
    ``averages``: an average of the weights follows them;
    seconds are the host's, of a micro-batch and of an update."""

    clips: bool = False
    reads_loss: bool = False
    micro_batch_seconds: float = 0.0
    update_seconds: float = 0.0
    averages: bool = False


@dataclass(frozen=True)
class Priced:
    """Where and how a trainer's step is priced; ``dims`` [n_forms] are of one point."""

    clock: StepClock
    trace: StepTrace
    dims: np.ndarray
    precision: str
    compiled: bool = False
    #: How an average of the weights is kept, where one is; see ``operations/averaging.py``.
    averages: str | None = None

    @cached_property
    def _each(self) -> np.ndarray:
        """Of one call of every signature: the same for all that a trainer may do beside a step."""
        bare = as_run(self.trace, TrainerWork(), self.averages)
        return self.clock.device_seconds(bare, self.dims, self.precision, self.compiled)

    def seconds(self, work: TrainerWork, accumulation: int) -> float:
        """Of one update on one device, its micro-batches one after another: the last one's with the
        update, the others' without. Kept with the trace."""
        asked = (work, accumulation, self.precision, self.compiled, self.averages)
        return self.clock.kept(
            self.trace, "trainer's step", self.dims, asked, lambda: self._made(work, accumulation)
        )

    def _made(self, work: TrainerWork, accumulation: int) -> float:
        whole, micro = as_run(self.trace, work, self.averages), work.micro_batch_seconds
        last = self._once(whole, micro + work.update_seconds)
        if accumulation == 1:
            return last
        return (accumulation - 1) * self._once(without_update(whole), micro) + last

    def _once(self, trace: StepTrace, host_seconds: float) -> float:
        found = self.clock.price(
            trace,
            self.dims,
            precision=self.precision,
            compiled=self.compiled,
            device_seconds=self._each,
            added_host_seconds=host_seconds,
        )
        return float(found.seconds)


def as_run(trace: StepTrace, work: TrainerWork, averages: str | None = None) -> StepTrace:
    """The trace with the trainer's operations before the update; itself where nothing trains. Its
    signatures are the same whatever the trainer does. Where each weight is updated inside the
    backward pass, nothing is left to clip."""
    if not (trace.op_phase == _BACKWARD).any():
        return trace
    return trace.memo.of(
        "trainer",
        (work.clips, work.reads_loss, work.averages, averages),
        lambda: _with(trace, work, averages),
        most=8,
    )


def without_update(trace: StepTrace) -> StepTrace:
    """Forward and backward pass alone, as a micro-batch that is accumulated."""
    return trace.memo.of("without update", None, lambda: _before_update(trace))


def _with(trace: StepTrace, work: TrainerWork, averages: str | None) -> StepTrace:
    clipped, average = clipping(trace), averaging(trace, averages) if averages else []
    added = [(_asked(), _BACKWARD)] * (QUESTIONS if work.reads_loss else 0)
    added += [(signature, _OPTIMIZER) for signature in clipped] if work.clips else []
    added += [(signature, _OPTIMIZER) for signature in average] if work.averages else []
    return _inserted(trace, added, (_asked(), *clipped, *average))


def _asked() -> Signature:
    return Signature("aten._local_scalar_dense.default", (_NUMBER,), ())


def _inserted(
    trace: StepTrace, added: list[tuple[Signature, int]], known: tuple[Signature, ...]
) -> StepTrace:
    """``added``, of those that are ``known``, before the update's first operation; lifetimes keep
    their operations."""
    at = update_at(trace)
    own = tuple(dict.fromkeys(known))
    place = {signature: len(trace.signatures) + index for index, signature in enumerate(own)}

    def put(values: np.ndarray, new: list[int]) -> np.ndarray:
        return np.insert(values, at, np.array(new, dtype=values.dtype))

    def moved(indices: np.ndarray) -> np.ndarray:
        return np.where(indices >= at, indices + len(added), indices).astype(indices.dtype)

    module = int(trace.op_module[min(at, trace.op_count - 1)])
    return replace(
        trace,
        signatures=(*trace.signatures, *own),
        op_signature=put(trace.op_signature, [place[signature] for signature, _ in added]),
        op_phase=put(trace.op_phase, [phase for _, phase in added]),
        op_module=put(trace.op_module, [module] * len(added)),
        birth=moved(trace.birth),
        death=moved(trace.death),
    )


def _before_update(trace: StepTrace) -> StepTrace:
    """Cut at the update; what lives past the cut outlives the step."""
    kept = trace.op_phase != _OPTIMIZER
    stop = int(np.argmax(~kept)) if not kept.all() else trace.op_count
    born = trace.birth < stop
    return replace(
        trace,
        op_signature=trace.op_signature[:stop],
        op_phase=trace.op_phase[:stop],
        op_module=trace.op_module[:stop],
        size=trace.size[born],
        birth=trace.birth[born],
        death=np.minimum(trace.death[born], stop),
        category=trace.category[born],
        storage_module=trace.storage_module[born],
    )
