"""What is said of devices that share a model's state: the plan, what they send each other, and what
of it a step waits for."""

from __future__ import annotations

from typing import Any

import numpy as np

from planner import units
from planner.devices.specification import DeviceSpec
from planner.errors import FieldName
from planner.first_lines import FirstLine
from planner.parallel.network.which import network_of
from planner.parallel.plan import ParallelPlan
from planner.parallel.sharded import Collective
from planner.parallel.shared_time import COLLECTIVE, sent_seconds
from planner.parallel.source import Sending, collectives_of
from planner.plan.around.layers import layer_values
from planner.plan.around.parted import part_values
from planner.plan.steps.setting import Setting
from planner.question import Question
from planner.question.stack import stack_of
from planner.trace.table import CATEGORIES, StepTrace

#: What each plan shares, in words.
SHARED = {
    "fsdp": "parameters, gradients and optimizer states",
    "zero3": "parameters, gradients and optimizer states",
    "zero2": "gradients and optimizer states",
    "zero1": "optimizer states",
}
#: Whose software a plan is taken to be.
WHOSE = {"fsdp": "FSDP2's full shard"}
DEEPSPEED = "DeepSpeed, which keeps float32 copies of what trains beside the states,"
#: Trainers that hold whole gradients until a step's last micro-batch (accelerate 1.15
#: ``Accelerator.no_sync``: ``set_requires_gradient_sync(False)``).
HOLDING = ("trainer",)


def sharing_lines(question: Question, setting: Setting, spec: DeviceSpec) -> list[FirstLine]:
    """Nothing for copies; that the field has no effect on one device."""
    parallel, asked = setting.step.parallel, question.parallel
    if parallel.devices == 1:
        if asked in (None, "auto", "ddp"):
            return []
        text = f"{FieldName('parallel')} {asked} has no effect: one device has nothing to share"
        return [FirstLine("run", text, warning=True)]
    if not parallel.sharding:
        return []
    found = sharing_values(setting, spec)
    why = "" if asked == parallel.sharding else ", as copies do not fit"
    text = (
        f"{parallel.devices:,} devices: {parallel.sharding}{why}; {SHARED[parallel.sharding]} are "
        f"in {parallel.shards:,} parts, as {WHOSE.get(parallel.sharding, DEEPSPEED)} does it; "
        f"each device sends {units.format_bytes(found['sent_bytes'])} a step, which takes "
        f"{units.format_seconds(found['sending_seconds'])}, of which "
        f"{units.format_seconds(found['exposed_seconds'])} show in a step of "
        f"{units.format_seconds(setting.step.seconds.p50)}"
    )
    lines = [FirstLine("run", text)]
    said = network_of(spec, parallel.devices).said
    lines += [FirstLine("run", sentence) for sentence in said]
    return [*lines, *_accumulating(question, setting)]


def _accumulating(question: Question, setting: Setting) -> list[FirstLine]:
    """Where gradients would wait whole by default, that they are taken not to."""
    parallel, trace = setting.step.parallel, setting.longest_trace()
    trainer = stack_of(question.stack).line
    holds = parallel.sharding == "fsdp" and any(name in HOLDING for name in trainer)
    if setting.accumulation == 1 or not holds:
        return []
    whole = float(trace.meta.get("gradient_bytes", 0)) * parallel.shards
    text = (
        "gradients are reduced after every micro-batch (accelerate's sync_each_batch: true); by "
        f"its default every device holds up to {units.format_bytes(whole)} of whole gradients "
        "between micro-batches, and sends less"
    )
    return [FirstLine("run", text)]


def shared_values(setting: Setting, spec: DeviceSpec) -> dict[str, Any]:
    """``sharing_values`` for the document, where devices share anything, layers too."""
    sharing = setting.step.parallel.sharding
    own = {"sharing": sharing_values(setting, spec)} if sharing else {}
    return own | layer_values(setting, spec) | part_values(setting, spec)


def sharing_values(setting: Setting, spec: DeviceSpec) -> dict[str, Any]:
    """For the document: the plan, traffic of one device in one step, what of it shows, and what
    each device holds of its own between two steps."""
    step, parallel = setting.step, setting.step.parallel
    trace = setting.source.at(B=setting.micro_batch, **setting.mean)
    sending = collectives_of(trace)
    times = sending.times(setting.accumulation)
    network = network_of(spec, parallel.devices)
    seconds = {
        part: sum(sent_seconds(one, parallel, network) for one in sent)
        for part, sent in (("micro_batch", sending.micro_batch), ("update", sending.update))
    }
    waits = float(step.time.by_kind.get(COLLECTIVE, 0.0))
    update = waits if sending.at_end else seconds["update"]
    return {
        "plan": parallel.sharding,
        "dp_replicate": parallel.dp_replicate,
        "dp_shard": parallel.shards,
        "units": sending.units,
        "sent_bytes": _sent_bytes(sending, parallel, times),
        "gathered_bytes": _whole(sending, "all_gather", times),
        "reduced_bytes": _whole(sending, "reduce_scatter", times)
        + _whole(sending, "all_reduce", times),
        "sending_seconds": times * seconds["micro_batch"] + seconds["update"],
        "exposed_seconds": setting.accumulation * (waits - update) + update,
        "held_bytes": _held(trace, setting),
    }


def _whole(sending: Sending, kind: str, times: int) -> float:
    """Bytes of the whole buffers of a step."""
    each = sum(one.size_bytes for one in sending.micro_batch if one.kind == kind)
    return float(times * each + sum(one.size_bytes for one in sending.update if one.kind == kind))


def _sent_bytes(sending: Sending, parallel: ParallelPlan, times: int) -> float:
    """What a ring sends from one device: each other's part once, of an all-reduce twice."""
    every = [(one, times) for one in sending.micro_batch] + [(one, 1) for one in sending.update]
    return sum(often * _sent(one, parallel) for one, often in every)


def _sent(one: Collective, parallel: ParallelPlan) -> float:
    """Of one collective, from one device."""
    ranks = parallel.same_experts if one.of_experts else parallel.shards
    around = (ranks - 1) / ranks * one.size_bytes
    copies = parallel.dp_replicate
    if one.kind == "reduce_scatter" and copies > 1:
        return around + 2 * (copies - 1) / copies * one.size_bytes / ranks
    return around * (2 if one.kind == "all_reduce" else 1)


def _held(trace: StepTrace, setting: Setting) -> dict[str, float]:
    """A device's own part of parameters, gradients and optimizer states."""
    dims = trace.dims(B=setting.micro_batch, **setting.mean)
    sizes, there = trace.storage_bytes(dims)[trace.size], trace.birth < 0
    return {
        "parameters": float(sizes[there & _is(trace, "weights")].sum()),
        "gradients": float(trace.meta.get("gradient_bytes", 0)),
        "optimizer": float(sizes[there & _is(trace, "optimizer")].sum()),
    }


def _is(trace: StepTrace, category: str) -> np.ndarray:
    return trace.category == CATEGORIES.index(category)
