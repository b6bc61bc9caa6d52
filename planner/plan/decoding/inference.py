"""Seconds of a forward pass without gradients: one batch of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from planner.devices.specification import DeviceSpec
from planner.plan.decoding.cut import inference
from planner.step_time.clock import StepClock
from planner.trace.source import TraceSource


def forward_seconds(
    source: TraceSource,
    spec: DeviceSpec,
    batch: int,
    lengths: Mapping[str, int | None],
    trained_batch: int,
) -> float:
    """``lengths``: S and T. A batch of one is recorded apart: it is taken from larger batches where
    training has larger ones (``trained_batch``). Raises the errors of tracing."""
    key = (spec.key, spec.pricing, batch, *sorted(lengths.items()), trained_batch == 1)
    return source.memo.of(
        "evaluation", key, lambda: _forward_seconds(source, spec, batch, lengths, trained_batch)
    )


def _forward_seconds(
    source: TraceSource,
    spec: DeviceSpec,
    batch: int,
    lengths: Mapping[str, int | None],
    trained_batch: int,
) -> float:
    recorded = 1 if batch == trained_batch == 1 else max(2, batch)
    trace = inference(source.at(B=recorded, **lengths))
    # what is timed for real is a step of training
    time = StepClock(replace(spec, timer=None)).price(
        trace,
        trace.dims(B=batch, **lengths),
        precision=source.recipe.precision,
        compiled=source.recipe.compile,
    )
    return float(time.seconds)
