"""The single host costs held against whole training steps of a small model: the records'
``scale``."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from planner.calibrate.host import model as host_model
from planner.calibrate.host.timing import host_record, one_thread
from planner.calibrate.operations.execute import CannotRun
from planner.calibrate.operations.timing import time_case
from planner.calibrate.priors import prior
from planner.models.resolve import resolve
from planner.operations.cases import case_of
from planner.operations.registry import kind_of, work
from planner.step_time.clock import StepClock
from planner.trace.table import StepTrace
from planner.training.recipe import Recipe

if TYPE_CHECKING:
    from planner.calibrate.operations.backends import Backend
    from planner.devices.specification import DeviceSpec

WARM_UP, STEPS, ROUNDS = 3, 8, 5
OPERATION_SECONDS = 0.004  # for timing one operation of the trace


def measured_scale(
    backend: Backend, costs: Mapping[str, float], end: float
) -> Iterator[dict[str, Any]]:
    """One record: the host's seconds of a real step over those that ``costs`` give for its trace,
    within its limits. None when ``end`` (of time.monotonic) comes first, or where the host's part
    is too small to tell."""
    with one_thread(backend):
        trace = recorded()
        dims = trace.dims(B=host_model.BATCH, S=host_model.LENGTH)
        predicted = predicted_host_seconds(trace, dims, costs)
        if time.monotonic() >= end:
            return
        step = statistics.median(step_seconds(backend))
        operations = operations_seconds(trace, dims, backend, end) if backend.kind == "cpu" else 0.0
        if operations is None or predicted < prior("least_host_share") * step:
            return
        ratio = float(step - operations) / predicted
        yield host_record(
            "scale",
            min(max(ratio, prior("scale_lowest")), prior("scale_highest")),
            unclipped=ratio,
            step_seconds=step,
            predicted_seconds=predicted,
            operations_seconds=operations,
        )


def recorded() -> StepTrace:
    """The step of the small model as planner records it."""
    from planner.trace.recorder.regimes import record_regime

    name = f"{host_model.__name__}:{host_model.encoder.__name__}"
    family, _ = record_regime(
        resolve(name),
        Recipe(strategy="fine_tune", task="own", optimizer="adamw", precision="fp32"),
        None,
        "b2",
        None,
        None,
    )
    return family.traces[0]


def predicted_host_seconds(trace: StepTrace, dims: np.ndarray, costs: Mapping[str, float]) -> float:
    """As the clock charges a trace."""
    calibration = SimpleNamespace(
        host={name: value for name, value in costs.items() if name != "scale"}, facts={}
    )
    spec = SimpleNamespace(
        key="", vendor="", compute_capability=None, pricing="calibrated", calibration=calibration
    )
    host = StepClock(cast("DeviceSpec", spec)).host(trace, work(trace, dims[:, None]))
    return float(host.seconds.sum() + host.step_seconds)


def step_seconds(backend: Backend) -> list[float]:
    """Seconds of a step, a sample for each round of several: where the device has its own queue, as
    fast as the host fills it."""
    with torch.device(backend.device):
        module, batch, loss = host_model.encoder()
        given = batch(host_model.BATCH, host_model.LENGTH)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)

    def steps(count: int) -> float:
        backend.synchronise()
        start = time.perf_counter()
        for _ in range(count):
            loss(module, given).backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
        backend.synchronise()
        return (time.perf_counter() - start) / count

    steps(WARM_UP)
    return [steps(STEPS) for _ in range(ROUNDS)]


def operations_seconds(
    trace: StepTrace, dims: np.ndarray, backend: Backend, end: float
) -> float | None:
    """What the operators of a trace alone take, each timed: None when ``end`` comes first or one of
    them cannot run."""
    counts, total = trace.counts.sum(axis=1), 0.0
    for signature, count in zip(trace.signatures, counts):
        if not kind_of(signature.op).runs_kernel:
            continue
        if time.monotonic() >= end:
            return None
        try:
            total += (
                int(count)
                * time_case(
                    case_of(signature, dims, "fp32"), backend, budget_seconds=OPERATION_SECONDS
                ).seconds
            )
        except CannotRun:
            return None
    return total
