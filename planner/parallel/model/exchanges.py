"""Seconds and bytes of what devices with other experts send each other.

All-to-alls stand on the critical path, as Megatron-Core's all-to-all dispatcher and torchtitan run
them: rows have to be there before an expert can begin, and come back before the layer can end.
Schedules that run another micro-batch meanwhile (DualPipe of DeepSeek-V3, Megatron-Core's
``overlap_moe_expert_parallel_comm``) hide them; those are not planned. Every row is sent by
itself, also where several experts of its token are on one node: DeepEP's kernels send it once.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.parallel.model.experts import sending_of
from planner.parallel.network.network import Network, collective_seconds
from planner.step_time.clock import StepTime
from planner.trace.table import StepTrace

#: The name of what devices with other experts wait for, among the kinds of operations.
WAITS = "expert_collective"
Values = np.ndarray | float


def with_expert_waits(
    time: StepTime, trace: StepTrace, dims: np.ndarray, network: Network
) -> StepTime:
    """``time`` of a device's operations with its all-to-alls; as it is where it has all experts."""
    if sending_of(trace) is None:
        return time
    forward, backward = expert_seconds(trace, dims, network)
    whole = forward + backward
    return replace(
        time,
        seconds=time.seconds + whole,
        forward_seconds=time.forward_seconds + forward,
        backward_seconds=time.backward_seconds + backward,
        device_busy_seconds=time.device_busy_seconds + whole,
        by_kind={**time.by_kind, WAITS: whole},
    )


def expert_seconds(trace: StepTrace, dims: np.ndarray, network: Network) -> tuple[Values, Values]:
    """Of one micro-batch: (forward, backward) [*points]. Raises QuestionError where no source gives
    the link."""
    sending = sending_of(trace)
    if sending is None:
        return 0.0, 0.0
    rows, ranks = trace.storage_bytes(dims)[sending.size], sending.ranks
    each = np.array(
        [collective_seconds("all_to_all", float(one), ranks, network) for one in np.ravel(rows)]
    ).reshape(np.shape(rows))
    counts = collective_seconds("all_gather", float(sending.counts_bytes), ranks, network)
    forward, backward = (
        each * times + counts * counted
        for times, counted in zip(sending.exchanges, sending.dispatches, strict=True)
    )
    if np.ndim(rows):
        return forward, backward
    return float(forward), float(backward)


def expert_sent_bytes(trace: StepTrace, dims: np.ndarray) -> float:
    """What one device sends in one micro-batch: of all its rows those of other devices' experts."""
    sending = sending_of(trace)
    if sending is None:
        return 0.0
    rows = float(trace.storage_bytes(dims)[sending.size])
    return sum(sending.exchanges) * rows * (sending.ranks - 1) / sending.ranks
