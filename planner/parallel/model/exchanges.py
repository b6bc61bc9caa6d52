"""Seconds and bytes of what devices with other experts, or other parts of a sequence, send each
other.

All-to-alls stand on the critical path, as Megatron-Core's all-to-all dispatcher and torchtitan run
them: rows have to be there before an expert can begin, and come back before the layer can end.
Schedules that run another micro-batch meanwhile (DualPipe of DeepSeek-V3, Megatron-Core's
``overlap_moe_expert_parallel_comm``) hide them; those are not planned. Every row is sent by
itself, also where several experts of its token are on one node: DeepEP's kernels send it once.

Keys and values go around a ring while attention computes with those that came before, so only what
takes longer than a device's attention to one piece shows (Megatron-Core's ``cp_comm_type`` p2p).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.parallel.model.context import passing_of
from planner.parallel.model.experts import sending_of
from planner.parallel.model.places import FORWARD
from planner.parallel.network.network import Network, collective_seconds
from planner.step_time.clock import StepTime
from planner.trace.table import StepTrace

#: The names of what devices with other experts, and other parts of a sequence, wait for, among the
#: kinds of operations.
WAITS, RING_WAITS = "expert_collective", "context_collective"
#: Pieces that go around: keys and values, with their gradients in the backward pass.
_AND_GRADIENTS = 2
Values = np.ndarray | float


def with_expert_waits(
    time: StepTime, trace: StepTrace, dims: np.ndarray, network: Network
) -> StepTime:
    """``time`` of a device's operations with its all-to-alls; as it is where it has all experts."""
    if sending_of(trace) is None:
        return time
    return _waiting(time, WAITS, *expert_seconds(trace, dims, network))


def _waiting(time: StepTime, kind: str, forward: Values, backward: Values) -> StepTime:
    whole = forward + backward
    return replace(
        time,
        seconds=time.seconds + whole,
        forward_seconds=time.forward_seconds + forward,
        backward_seconds=time.backward_seconds + backward,
        device_busy_seconds=time.device_busy_seconds + whole,
        by_kind={**time.by_kind, kind: whole},
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


def with_ring_waits(
    time: StepTime,
    trace: StepTrace,
    dims: np.ndarray,
    network: Network,
    stride: int,
    each: np.ndarray,
) -> StepTime:
    """``time`` of a device's operations with what its attention waits for; ``each``: seconds of a
    call of each signature [n_signatures, *points]; as it is where devices have whole sequences."""
    if passing_of(trace) is None:
        return time
    return _waiting(time, RING_WAITS, *ring_seconds(trace, dims, network, stride, each))


def ring_seconds(
    trace: StepTrace, dims: np.ndarray, network: Network, stride: int, each: np.ndarray
) -> tuple[Values, Values]:
    """Of one micro-batch, beyond the attention that goes on meanwhile: (forward, backward)
    [*points]. ``stride``: devices between neighbours of the ring. Raises QuestionError where no
    source gives the link."""
    passing, points = passing_of(trace), dims.shape[1:]
    if passing is None:
        return 0.0, 0.0
    sizes, found = trace.storage_bytes(dims), [np.zeros(points), np.zeros(points)]
    for signature, (pieces, backward) in passing.pieces.items():
        own = sum(sizes[one] for one in pieces) * (_AND_GRADIENTS if backward else 1)
        sent = np.array(
            [
                collective_seconds("send", float(one), 2, network, stride=stride)
                for one in np.ravel(own)
            ]
        ).reshape(points)
        busy = np.reshape(each[signature], points) / passing.ranks
        late = (passing.ranks - 1) * np.maximum(0.0, sent - busy)
        counts = trace.counts[signature]
        found[0] += counts[FORWARD] * late
        found[1] += (counts.sum() - counts[FORWARD]) * late
    forward, backward_seconds = found
    return (forward, backward_seconds) if points else (float(forward), float(backward_seconds))


def ring_sent_bytes(trace: StepTrace, dims: np.ndarray) -> float:
    """What one device passes on in one micro-batch."""
    passing = passing_of(trace)
    if passing is None:
        return 0.0
    sizes, counts = trace.storage_bytes(dims), trace.counts.sum(axis=1)
    each = [
        counts[signature] * (_AND_GRADIENTS if backward else 1) * sum(float(sizes[n]) for n in own)
        for signature, (own, backward) in passing.pieces.items()
    ]
    return float(sum(each)) * (passing.ranks - 1)


def expert_sent_bytes(trace: StepTrace, dims: np.ndarray) -> float:
    """What one device sends in one micro-batch: of all its rows those of other devices' experts."""
    sending = sending_of(trace)
    if sending is None:
        return 0.0
    rows = float(trace.storage_bytes(dims)[sending.size])
    return sum(sending.exchanges) * rows * (sending.ranks - 1) / sending.ranks
