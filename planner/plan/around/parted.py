"""What is said of devices that have other experts, or other parts of a sequence: what they send
each other, and how long they wait for it."""

from __future__ import annotations

from typing import Any

from planner import units
from planner.devices.specification import DeviceSpec
from planner.errors import FieldName
from planner.first_lines import FirstLine
from planner.parallel.model.exchanges import (
    expert_seconds,
    expert_sent_bytes,
    ring_seconds,
    ring_sent_bytes,
)
from planner.parallel.model.experts import sending_of
from planner.parallel.network.which import network_of
from planner.parallel.plan import ParallelPlan
from planner.parallel.ranks import stages_of
from planner.plan.steps.setting import Setting
from planner.step_time.clock import StepClock


def devices_in_words(parallel: ParallelPlan) -> list[str]:
    """How many devices a micro-batch is multiplied by: one by one, or those of a copy together."""
    devices, groups = parallel.devices, parallel.data_parallel
    if devices == 1:
        return []
    if groups == devices:
        return [f"{devices:,} GPUs"]
    return [f"{groups:,} group{'s' if groups > 1 else ''} of {devices // groups:,} GPUs"]


def part_lines(setting: Setting, spec: DeviceSpec) -> list[FirstLine]:
    """Nothing where every device has all experts and whole sequences."""
    found, whole = part_values(setting, spec), units.format_seconds(setting.step.seconds.p50)
    experts = found.get("experts")
    lines = []
    if experts is not None:
        text = (
            f"{FieldName('expert_parallel')} {experts['expert_parallel']}: each device has "
            f"{experts['experts_each']} of {experts['experts']} routed experts whole, as "
            f"{experts['same_experts']:,} devices each have the same; tokens taken as evenly "
            f"spread; each device sends {units.format_bytes(experts['sent_bytes'])} of tokens a "
            f"step there and back, every expert's apart, and waits "
            f"{units.format_seconds(experts['seconds'])}, which nothing hides, in a step of {whole}"
        )
        lines.append(FirstLine("run", text))
    context = found.get("context")
    if context is not None:
        text = (
            f"{FieldName('context_parallel')} {context['context_parallel']}: each device has a "
            f"part of every sequence, and passes {units.format_bytes(context['sent_bytes'])} of "
            f"keys and values on around a ring a step; {units.format_seconds(context['seconds'])} "
            f"of it show beside its attention, in a step of {whole}; causal work is taken as "
            "balanced"
        )
        lines.append(FirstLine("run", text))
    return lines


def part_values(setting: Setting, spec: DeviceSpec) -> dict[str, Any]:
    """For the document, by what is in parts: of experts the rows that a device sends, seconds of
    the stage that waits longest."""
    parallel = setting.step.parallel
    if not parallel.is_parted:
        return {}
    network, times = network_of(spec, parallel.devices), setting.accumulation
    point = {"B": setting.micro_batch, **setting.mean}
    trace = setting.source.at(B=setting.micro_batch, **setting.mean)
    stages = [(one, one.dims(**point)) for one in (trace, *stages_of(trace))]
    found: dict[str, Any] = {}
    sending = next((s for one, _ in stages if (s := sending_of(one)) is not None), None)
    if sending is not None:
        waits = [sum(map(float, expert_seconds(one, dims, network))) for one, dims in stages]
        sent = [expert_sent_bytes(one, dims) for one, dims in stages]
        found["experts"] = {
            "expert_parallel": sending.ranks,
            "experts": sending.experts,
            "experts_each": sending.experts // sending.ranks,
            "same_experts": sending.same * (parallel.dp_replicate if parallel.sharding else 1),
            "sent_bytes": times * max(sent),
            "seconds": times * max(waits),
        }
    if parallel.cp > 1:
        rings = [float(time) for time in _ring_seconds(setting, spec)]
        found["context"] = {
            "context_parallel": parallel.cp,
            "sent_bytes": times * max(ring_sent_bytes(one, dims) for one, dims in stages),
            "seconds": times * max(rings),
        }
    return found


def _ring_seconds(setting: Setting, spec: DeviceSpec) -> list[float]:
    """Of a micro-batch on each stage, what its ring holds it up."""
    parallel, recipe, clock = setting.step.parallel, setting.recipe, StepClock(spec)
    network = network_of(spec, parallel.devices)
    point = {"B": setting.micro_batch, **setting.mean}
    trace = setting.source.at(B=setting.micro_batch, **setting.mean)
    found = []
    for one in (trace, *stages_of(trace)):
        dims = one.dims(**point)
        each = clock.device_seconds(one, dims, recipe.precision, recipe.compile)
        found.append(sum(ring_seconds(one, dims, network, parallel.tp, each)))
    return found


def waited_seconds(setting: Setting, spec: DeviceSpec) -> float:
    """Of a step, for all that is in parts."""
    return sum(float(part["seconds"]) for part in part_values(setting, spec).values())
