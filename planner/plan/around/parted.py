"""What is said of devices that have other experts, or other parts of a sequence: what they send
each other, and how long they wait for it."""

from __future__ import annotations

from typing import Any

from planner import units
from planner.devices.specification import DeviceSpec
from planner.errors import FieldName
from planner.first_lines import FirstLine
from planner.parallel.model.exchanges import expert_seconds, expert_sent_bytes
from planner.parallel.model.experts import sending_of
from planner.parallel.network.which import network_of
from planner.parallel.ranks import stages_of
from planner.plan.steps.setting import Setting


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
    return found


def waited_seconds(setting: Setting, spec: DeviceSpec) -> float:
    """Of a step, for all that is in parts."""
    return sum(float(part["seconds"]) for part in part_values(setting, spec).values())
