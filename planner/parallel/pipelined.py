"""Seconds of devices that share a model's layers: what tensor-parallel ranks wait for, and the
stages of a pipeline with its bubble.

Collectives of tensor parallelism stand on the critical path: nothing is hidden, save the gather of
a saved input in the backward pass, which runs beside products (Megatron-LM's
``LinearWithGradAccumulationAndAsyncCommunication``) and is not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner.parallel.model.schedule import schedule_seconds
from planner.parallel.model.sequence import TENSOR, TensorSending
from planner.parallel.network.network import Network, collective_seconds
from planner.parallel.plan import ParallelPlan
from planner.parallel.ranks import HIDDEN
from planner.step_time.clock import StepTime
from planner.trace.table import StepTrace

#: The name of what tensor-parallel ranks wait for, among the kinds of operations.
WAITS = "tensor_collective"
Values = np.ndarray | float


@dataclass(frozen=True)
class PipelinedTime(StepTime):
    """Of the slowest stage, with the longest update of all. ``stages``: (forward, backward)
    seconds of one micro-batch on the first, the middle ones (where there are any) and the last;
    ``send``: from stage to stage.
    ``model_flops`` and ``hardware_flops`` are those of a device on average."""

    stages: tuple[tuple[Values, Values], ...] = ()
    send: Values = 0.0

    def column(self, index: int) -> PipelinedTime:
        def at(value: Values) -> float:
            return float(np.asarray(value)[index]) if np.ndim(value) else float(value)

        one = super().column(index)
        assert isinstance(one, PipelinedTime)
        stages = tuple((at(f), at(b)) for f, b in self.stages)
        return replace(one, stages=stages, send=at(self.send))


def with_tensor_waits(
    time: StepTime, trace: StepTrace, dims: np.ndarray, network: Network, parallel: ParallelPlan
) -> StepTime:
    """``time`` of a rank's operations with its collectives."""
    forward, backward = tensor_seconds(trace, dims, network, parallel)
    whole = forward + backward
    return replace(
        time,
        seconds=time.seconds + whole,
        forward_seconds=time.forward_seconds + forward,
        backward_seconds=time.backward_seconds + backward,
        device_busy_seconds=time.device_busy_seconds + whole,
        by_kind={**time.by_kind, WAITS: whole},
    )


def tensor_seconds(
    trace: StepTrace, dims: np.ndarray, network: Network, parallel: ParallelPlan
) -> tuple[Values, Values]:
    """Of one micro-batch: (forward, backward) [*points]. Raises QuestionError where no source gives
    the link."""
    sending: TensorSending | None = trace.meta.get(TENSOR)
    if sending is None:
        return 0.0, 0.0
    sizes, ranks = trace.storage_bytes(dims), parallel.tp
    gather, scatter = (
        _each(kind, sizes[sending.size], ranks, network)
        for kind in ("all_gather", "reduce_scatter")
    )
    sums = sending.sums * _each("all_reduce", sizes[sending.rows], ranks, network)
    forward, backward = (
        gather * sending.gathers[way] + scatter * sending.scatters[way] for way in (0, 1)
    )
    return forward + sums, backward


def _each(kind: str, sizes: np.ndarray, ranks: int, network: Network) -> Values:
    found = [collective_seconds(kind, float(size), ranks, network) for size in np.ravel(sizes)]
    return np.array(found).reshape(np.shape(sizes)) if np.ndim(sizes) else found[0]


def tensor_sent_bytes(trace: StepTrace, dims: np.ndarray, ranks: int) -> float:
    """What a ring sends from one rank in one micro-batch."""
    sending: TensorSending | None = trace.meta.get(TENSOR)
    if sending is None:
        return 0.0
    sizes = trace.storage_bytes(dims)
    whole = float(sizes[sending.size]) * (sum(sending.gathers) + sum(sending.scatters))
    return (ranks - 1) / ranks * (whole + 2 * sending.sums * float(sizes[sending.rows]))


def hidden_bytes(trace: StepTrace, dims: np.ndarray) -> Values:
    """Of the whole hidden state of a micro-batch, which a stage hands on."""
    *shape, itemsize = trace.meta[HIDDEN]
    return itemsize * np.prod(dims[list(shape)], axis=0, dtype=np.float64)


def pipelined(
    times: Sequence[StepTime],
    trace: StepTrace,
    dims: np.ndarray,
    network: Network,
    parallel: ParallelPlan,
) -> PipelinedTime:
    """All stages together; ``trace`` and ``dims`` of the first."""
    size = np.asarray(hidden_bytes(trace, dims)) / parallel.tp
    apart = parallel.tp * parallel.cp * parallel.data_parallel
    found = [
        collective_seconds("send", float(one), 2, network, stride=apart) for one in np.ravel(size)
    ]
    send = np.array(found).reshape(size.shape) if size.shape else found[0]
    passes = np.array([np.asarray(t.seconds - t.optimizer_seconds) for t in times])
    slowest = passes.argmax(axis=0)

    def of_slowest(values: Sequence[Values]) -> Values:
        shape = passes.shape[1:]
        stacked = np.stack([np.broadcast_to(np.asarray(v, dtype=float), shape) for v in values])
        chosen = np.take_along_axis(stacked, slowest[None], axis=0)[0]
        return chosen if shape else float(chosen)

    def mean(values: Sequence[Values]) -> Values:
        counts = [1, *([parallel.pp - 2] if len(values) > 2 else []), 1]
        return sum(n * v for n, v in zip(counts, values, strict=True)) / parallel.pp

    # the next step begins when every stage has updated
    update = np.max([np.asarray(t.optimizer_seconds) for t in times], axis=0)
    update = update if np.ndim(update) else float(update)
    figures = {
        name: of_slowest([getattr(t, name) for t in times])
        for name in ("forward_seconds", "backward_seconds", "device_busy_seconds", "sigma_log")
    }
    kinds = dict.fromkeys(kind for t in times for kind in t.by_kind)
    return PipelinedTime(
        seconds=figures["forward_seconds"] + figures["backward_seconds"] + update,
        optimizer_seconds=update,
        **figures,
        host_seconds=max(t.host_seconds for t in times),
        by_kind={kind: of_slowest([t.by_kind.get(kind, 0.0) for t in times]) for kind in kinds},
        model_flops=mean([t.model_flops for t in times]),
        hardware_flops=mean([t.hardware_flops for t in times]),
        unmodelled_share=of_slowest([t.unmodelled_share for t in times]),
        stages=tuple((t.forward_seconds, t.backward_seconds) for t in times),
        send=send,
    )


def micro_batches_seconds(time: StepTime, accumulation: int, parallel: ParallelPlan) -> float:
    """Of all micro-batches of a step, without its update: one after another, or through the stages
    of a pipeline. Scalars."""
    if not isinstance(time, PipelinedTime):
        return accumulation * (float(time.seconds) - float(time.optimizer_seconds))
    first, *middle, last = [(float(f), float(b)) for f, b in time.stages]
    passes = [first, *(middle * (parallel.pp - 2)), last]
    forward, backward = zip(*passes, strict=True)
    return schedule_seconds(forward, backward, accumulation, parallel.chunks, float(time.send))


def bubble_seconds(time: StepTime, accumulation: int, parallel: ParallelPlan) -> float:
    """What a step takes beyond its micro-batches one after another on the slowest stage."""
    if not isinstance(time, PipelinedTime):
        return 0.0
    busy = accumulation * max(float(f) + float(b) for f, b in time.stages)
    return max(0.0, micro_batches_seconds(time, accumulation, parallel) - busy)


def bubble_share(time: StepTime, accumulation: int, parallel: ParallelPlan) -> float:
    """Of one micro-batch."""
    return bubble_seconds(time, accumulation, parallel) / accumulation
