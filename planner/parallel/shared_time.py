"""The time of a micro-batch on one of several devices that share state: its own operations, and
what it waits for while they gather, reduce and update together."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from planner.devices.priors import prior
from planner.memory.lifetimes import WEIGHTS, first_optimizer_operation
from planner.parallel.data_parallel import KIND
from planner.parallel.model.exchanges import with_expert_waits, with_ring_waits
from planner.parallel.model.places import PRODUCTS
from planner.parallel.model.sequence import TENSOR, TensorSending
from planner.parallel.model.zero_bubble import SCHEDULES
from planner.parallel.network.network import Network, collective_seconds
from planner.parallel.network.which import network_of
from planner.parallel.pipelined import WAITS, pipelined, with_tensor_waits
from planner.parallel.plan import ParallelPlan
from planner.parallel.ranks import point_of, stages_of
from planner.parallel.sharded import Collective
from planner.parallel.source import collectives_of
from planner.parallel.streams import Exposed, exposed
from planner.step_time.clock import StepClock, StepTime
from planner.trace.table import PHASES, Signature, StepTrace

#: The name of what is waited for, among the kinds of operations.
COLLECTIVE = "collective"
_BACKWARD = [PHASES.index(name) for name in ("recompute", "backward")]
_APART = (*PRODUCTS, "aten.embedding_dense_backward.", "aten._to_copy.")
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
    weights: list[np.ndarray | float] = []
    if parallel.schedule in SCHEDULES:
        every = [(trace, dims), *((stage, stage.dims(**point)) for stage in others)]
        weights = [
            weight_seconds(clock, stage, at, time, precision, compiled)
            for (stage, at), time in zip(every, times, strict=True)
        ]
    network = network_of(clock.spec, parallel.devices)
    return pipelined(times, trace, dims, network, parallel, weights)


def weight_seconds(
    clock: StepClock,
    trace: StepTrace,
    dims: np.ndarray,
    time: StepTime,
    precision: str,
    compiled: bool,
) -> np.ndarray | float:
    """What of a micro-batch's backward pass makes gradients of weights alone, which no other stage
    waits for: products, look-ups and casts whose result has a matrix's size, whatever the batch and
    the length. Of a pass that waits for the host its share of the device's time."""
    points = dims.reshape(dims.shape[0], -1)
    busy = clock.device_seconds(trace, points, precision, compiled)[trace.op_signature]
    back = np.isin(trace.op_phase, _BACKWARD)
    apart = np.array([_makes_weights(trace, one) for one in trace.signatures], dtype=bool)
    mine = (trace.op_phase == _BACKWARD[-1]) & apart[trace.op_signature]
    whole = busy[back].sum(axis=0)
    share = np.divide(busy[mine].sum(axis=0), whole, out=np.zeros_like(whole), where=whole > 0)
    waits = time.by_kind.get(COLLECTIVE, 0.0) + time.by_kind.get(WAITS, 0.0)
    work = np.maximum(0.0, np.asarray(time.backward_seconds - waits).reshape(-1))
    found = share * work
    return found.reshape(dims.shape[1:]) if dims.shape[1:] else float(found[0])


def _makes_weights(trace: StepTrace, signature: Signature) -> bool:
    """Whether the result is a matrix that no symbol changes."""
    if not signature.op.startswith(_APART) or not signature.outputs:
        return False
    rows = trace.forms[list(signature.outputs[0].shape)]
    one = trace.monomials.index("1")
    return len(rows) > 1 and not np.delete(rows, one, axis=1).any()


def _of_one(
    clock: StepClock,
    trace: StepTrace,
    dims: np.ndarray,
    precision: str,
    compiled: bool,
    parallel: ParallelPlan,
) -> StepTime:
    """Of one stage."""
    asked = asking_seconds(clock, trace, parallel)
    time = clock.price(
        trace, dims, precision=precision, compiled=compiled, added_host_seconds=asked
    )
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
    asked = (precision, compiled, parallel, clock.spec.machine)
    return clock.kept(
        trace,
        "shared time",
        dims,
        asked,
        lambda: _with(
            time, exposed_at(clock, trace, dims, time, precision, compiled, parallel), dims
        ),
    )


def asking_seconds(clock: StepClock, trace: StepTrace, parallel: ParallelPlan) -> float:
    """Host seconds of one micro-batch for asking for what is sent: collectives of tensor-parallel
    ranks, sends between stages, FSDP2's hooks around its units. They are charged where the step
    begins, so that they show where the host is late. Hooks of DeepSpeed and the reducer of
    DistributedDataParallel are not measured, and not counted."""
    host = partial(prior, clock.spec, "host")
    sending: TensorSending | None = trace.meta.get(TENSOR)
    found = 0.0
    if sending is not None:
        count = sum(sending.gathers) + sum(sending.scatters) + sending.sums
        found += count * host("tensor_collective_seconds")
    if parallel.pp > 1:
        found += 2 * parallel.chunks * host("send_receive_seconds")
    if parallel.sharding == "fsdp":
        held = (trace.birth < 0) & (trace.category == WEIGHTS)
        units = collectives_of(trace).units * host("fsdp_unit_seconds")
        units += int(held.sum()) * host("fsdp_parameter_seconds")
        trains = bool(np.isin(trace.op_phase, _BACKWARD).any())
        found += units if trains else units / 2  # a pass of two
    return found


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
