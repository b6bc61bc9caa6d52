"""Seconds of one optimizer step over all its micro-batches and devices: the one place that adds
them up."""

from __future__ import annotations

from planner.devices.specification import DeviceSpec
from planner.parallel.data_parallel import summed_seconds
from planner.parallel.pipelined import micro_batches_seconds
from planner.parallel.plan import ParallelPlan
from planner.step_time.clock import StepTime


def optimizer_step_seconds(
    time: StepTime,
    *,
    accumulation: int,
    parallel: ParallelPlan,
    gradient_bytes: float,
    spec: DeviceSpec,
    of_experts: float = 0.0,
) -> float:
    """``accumulation`` micro-batches and one update on each device, the gradients summed once.

    ``time`` is of one micro-batch with its update on one device (scalars); where devices share
    state, with what every micro-batch waits for (``shared_time``). ``of_experts``: of the gradients
    those of experts that other devices have not. Raises QuestionError where no
    source gives the link between the devices.
    """
    update = float(time.optimizer_seconds)
    total = micro_batches_seconds(time, accumulation, parallel) + update
    backward = float(time.backward_seconds)
    return total + summed_seconds(gradient_bytes, of_experts, parallel, spec, backward)
