"""The time of a micro-batch on one of several devices that share state: its own operations, and
what it waits for while they gather, reduce and update together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.devices.priors import prior
from planner.memory.lifetimes import first_optimizer_operation
from planner.parallel.data_parallel import KIND
from planner.parallel.model.exchanges import with_expert_waits, with_ring_waits
from planner.parallel.network.network import Network, collective_seconds
from planner.parallel.network.which import network_of
from planner.parallel.pipelined import pipelined, with_tensor_waits
from planner.parallel.plan import ParallelPlan
from planner.parallel.ranks import point_of, stages_of
from planner.parallel.sharded import Collective
from planner.parallel.source import collectives_of
from planner.parallel.streams import Exposed, exposed
from planner.step_time.clock import StepClock, StepTime
from planner.trace.table import PHASES, StepTrace

#: The name of what is waited for, among the kinds of operations.
COLLECTIVE = "collective"
_FORWARD = [PHASES.index(name) for name in ("forward", "teacher")]


def shared_time(
    clock: StepClock,
    trace: StepTrace,
    dims: np.ndarray,
    *,
    precision: str,
    compiled: bool,
    parallel: ParallelPlan,
) -> StepTime:
    """``StepClock.price`` of a trace, which is a sharded one where the plan shares state: with what
    its collectives add, kind ``collective`` of ``by_kind``. Raises as ``price``, and QuestionError
    where no source gives the link between the devices. Of a pipeline's first stage: of all its
    stages (``PipelinedTime``)."""
    others = stages_of(trace)
    if not others:
        return _of_one(clock, trace, dims, precision, compiled, parallel)
    point = point_of(trace, dims)
    times = [_of_one(clock, trace, dims, precision, compiled, parallel)]
    times += [
        _of_one(clock, stage, stage.dims(**point), precision, compiled, parallel)
        for stage in others
    ]
    return pipelined(times, trace, dims, network_of(clock.spec, parallel.devices), parallel)


def _of_one(
    clock: StepClock,
    trace: StepTrace,
    dims: np.ndarray,
    precision: str,
    compiled: bool,
    parallel: ParallelPlan,
) -> StepTime:
    """Of one stage."""
    time = clock.price(trace, dims, precision=precision, compiled=compiled)
    if parallel.tp > 1:
        time = with_tensor_waits(
            time, trace, dims, network_of(clock.spec, parallel.devices), parallel
        )
    if parallel.cp > 1:
        network = network_of(clock.spec, parallel.devices)
        each = clock.device_seconds(trace, dims.reshape(dims.shape[0], -1), precision, compiled)
        time = with_ring_waits(time, trace, dims, network, parallel.tp, each)
    if parallel.ep > 1:
        time = with_expert_waits(time, trace, dims, network_of(clock.spec, parallel.devices))
    if not parallel.sharding:
        return time
    asked = (precision, compiled, parallel)
    return clock.kept(
        trace,
        "shared time",
        dims,
        asked,
        lambda: _with(
            time, exposed_at(clock, trace, dims, time, precision, compiled, parallel), dims
        ),
    )


def _with(time: StepTime, waits: Exposed, dims: np.ndarray) -> StepTime:
    def shaped(values: np.ndarray) -> np.ndarray | float:
        return values.reshape(dims.shape[1:]) if dims.shape[1:] else float(values[0])

    forward, backward, update = map(shaped, (waits.forward, waits.backward, waits.update))
    whole = forward + backward + update
    return replace(
        time,
        seconds=time.seconds + whole,
        forward_seconds=time.forward_seconds + forward,
        backward_seconds=time.backward_seconds + backward,
        optimizer_seconds=time.optimizer_seconds + update,
        device_busy_seconds=time.device_busy_seconds + whole,
        by_kind={**time.by_kind, COLLECTIVE: whole},
    )


def exposed_at(
    clock: StepClock,
    trace: StepTrace,
    dims: np.ndarray,
    time: StepTime,
    precision: str,
    compiled: bool,
    parallel: ParallelPlan,
) -> Exposed:
    """What the collectives of a sharded trace add at ``dims = trace.dims(…)``. ``time``: of its
    operations alone; where the host is late their pace is stretched to it."""
    points = dims.reshape(dims.shape[0], -1)
    each = clock.device_seconds(trace, points, precision, compiled)
    stop = first_optimizer_operation(trace)
    forward_end = _forward_end(trace, stop)
    busy = each[trace.op_signature[:stop]]
    for part, seconds in (
        (slice(0, forward_end), time.forward_seconds),
        (slice(forward_end, stop), time.backward_seconds),
    ):
        whole = busy[part].sum(axis=0)
        taken = np.broadcast_to(np.asarray(seconds).reshape(-1), whole.shape)
        busy[part] *= np.divide(taken, whole, out=np.zeros_like(whole), where=whole > 0)
    found, network = collectives_of(trace), network_of(clock.spec, parallel.devices)
    waits = exposed(
        np.cumsum(busy, axis=0),
        found.micro_batch,
        [sent_seconds(one, parallel, network) for one in found.micro_batch],
        forward_end=forward_end,
        slowdown=prior(clock.spec, KIND, "slowdown_share"),
        update=sum(sent_seconds(one, parallel, network) for one in found.update),
    )
    if found.at_end:  # once a step, as the update
        late = waits.backward
        return replace(waits, backward=np.zeros_like(late), update=waits.update + late)
    return waits


def sent_seconds(one: Collective, parallel: ParallelPlan, network: Network) -> float:
    """A collective by itself; what copies of the sharing devices sum comes after their own."""
    shards, stride = parallel.shards, parallel.tp
    if one.of_experts:  # among the devices that hold the same ones
        shards, stride = parallel.same_experts, parallel.ep
    seconds = collective_seconds(one.kind, one.size_bytes, shards, network, stride=stride)
    if one.kind == "reduce_scatter" and parallel.dp_replicate > 1:
        part, apart = one.size_bytes / shards, parallel.shards * parallel.tp
        seconds += collective_seconds(
            "all_reduce", part, parallel.dp_replicate, network, stride=apart
        )
    return seconds


def _forward_end(trace: StepTrace, stop: int) -> int:
    after = np.flatnonzero(~np.isin(trace.op_phase[:stop], _FORWARD))
    return int(after[0]) if after.size else stop
