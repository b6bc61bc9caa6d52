"""Seconds of a forward pass without gradients: one batch of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping

from planner.parallel.shared_time import shared_time
from planner.parallel.source import IN_PARTS
from planner.plan.decoding.cut import inference
from planner.step_time.clock import StackKernels, StepClock
from planner.trace.source import TraceSource


def forward_seconds(
    source: TraceSource,
    clock: StepClock,
    batch: int,
    lengths: Mapping[str, int | None],
    trained_batch: int,
) -> float:
    """``lengths``: S and T. A batch of one is recorded apart: it is taken from larger batches
    unless training has it too (``trained_batch``). Raises the errors of tracing."""
    key = (*known_by(clock), batch, *sorted(lengths.items()), trained_batch == 1)
    return source.memo.of(
        "evaluation", key, lambda: _forward_seconds(source, clock, batch, lengths, trained_batch)
    )


def known_by(clock: StepClock) -> tuple[str, str, StackKernels]:
    """What prices of a clock are remembered by."""
    return clock.spec.key, clock.spec.pricing, clock.kernels


def recorded_batch(batch: int, trained_batch: int) -> int:
    """The batch whose trace an evaluated one is priced by."""
    return 1 if batch == trained_batch == 1 else max(2, batch)


def _forward_seconds(
    source: TraceSource,
    clock: StepClock,
    batch: int,
    lengths: Mapping[str, int | None],
    trained_batch: int,
) -> float:
    trace = inference(source.at(B=recorded_batch(batch, trained_batch), **lengths))
    time = clock.price(
        trace,
        trace.dims(B=batch, **lengths),
        precision=source.recipe.precision,
        compiled=source.recipe.compile,
    )
    return float(time.seconds) + _waits(source, clock, batch, lengths, trained_batch)


def _waits(
    source: TraceSource,
    clock: StepClock,
    batch: int,
    lengths: Mapping[str, int | None],
    trained_batch: int,
) -> float:
    """What a forward pass waits for where devices share the weights or the layers: as in
    training, of the slowest stage of a pipeline."""
    if not isinstance(source, IN_PARTS):
        return 0.0
    trace = source.at(B=recorded_batch(batch, trained_batch), **lengths)
    dims = trace.dims(B=batch, **lengths)
    how = {"precision": source.recipe.precision, "compiled": source.recipe.compile}
    alone = clock.price(trace, dims, **how)
    together = shared_time(clock, trace, dims, **how, parallel=source.parallel)
    return float(together.forward_seconds) - float(alone.forward_seconds)
