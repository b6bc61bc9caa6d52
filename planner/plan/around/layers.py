"""What is said of devices that share a model's layers: what tensor-parallel ranks send each other,
and a pipeline's stages and bubble."""

from __future__ import annotations

from typing import Any

import numpy as np

from planner import units
from planner.devices.specification import DeviceSpec
from planner.errors import FieldName
from planner.first_lines import FirstLine
from planner.parallel.model.zero_bubble import SCHEDULES
from planner.parallel.network.which import network_of
from planner.parallel.pipelined import (
    PipelinedTime,
    bubble_seconds,
    hidden_bytes,
    tensor_seconds,
    tensor_sent_bytes,
)
from planner.parallel.plan import ParallelPlan
from planner.parallel.ranks import stages_of
from planner.plan.steps.setting import Setting


def layer_lines(setting: Setting, spec: DeviceSpec) -> list[FirstLine]:
    """Nothing where every device has all layers."""
    parallel, found = setting.step.parallel, layer_values(setting, spec).get("layers")
    if found is None:
        return []
    whole = f"in a step of {units.format_seconds(setting.step.seconds.p50)}"
    copies = parallel.sharding or "ddp"
    parts = [
        f"{parallel.devices:,} devices: {FieldName('tensor_parallel')} {parallel.tp} × "
        f"{FieldName('pipeline_parallel')} {parallel.pp} × {parallel.data_parallel} ({copies})"
    ]
    if parallel.tp > 1:
        parts.append(
            "each layer's heads, MLP, sequence and the vocabulary are in "
            f"{parallel.tp} parts; each device sends "
            f"{units.format_bytes(found['tensor_sent_bytes'])} a step for it, and waits "
            f"{units.format_seconds(found['tensor_seconds'])}, which nothing hides, {whole}"
        )
    if parallel.pp > 1:
        parts.append(
            f"stages run {_schedule(parallel)} over {setting.accumulation:,} micro-batches; "
            "each hands on "
            f"{units.format_bytes(found['stage_sent_bytes'])} a step; stages stand still for "
            f"{units.format_seconds(found['bubble_seconds'])} (the bubble, "
            f"{100 * found['bubble_share']:.3g} %) {whole}"
        )
    lines = [FirstLine("run", "; ".join(parts))]
    if parallel.pp > 1 and setting.accumulation < parallel.pp:
        text = (
            f"{setting.accumulation} micro-batches do not fill {parallel.pp} stages: a smaller "
            f"{FieldName('micro_batch')} or a larger {FieldName('global_batch')} shortens the "
            f"bubble, and memory is stated for {parallel.pp} on their way"
        )
        lines.append(FirstLine("run", text, warning=True))
    return lines


def _schedule(parallel: ParallelPlan) -> str:
    """In words."""
    parts = f" of {parallel.chunks} parts" if parallel.chunks > 1 else ""
    if parallel.schedule not in SCHEDULES:
        return f"interleaved 1F1B{parts}" if parts else "1F1B"
    return (
        f"{parallel.schedule.replace('_', '-')}{parts} (products that make gradients of weights "
        f"fill the bubble; activations wait for them, of up to {parallel.pp} micro-batches on "
        "every stage)"
    )


def layer_values(setting: Setting, spec: DeviceSpec) -> dict[str, Any]:
    """For the document, where devices share layers. Of tensor parallelism: a rank of the first
    stage, seconds of the stage that waits longest."""
    step, parallel = setting.step, setting.step.parallel
    if not parallel.is_split:
        return {}
    network, times = network_of(spec, parallel.devices), setting.accumulation
    point = {"B": setting.micro_batch, **setting.mean}
    trace = setting.source.at(B=setting.micro_batch, **setting.mean)
    waits = [
        sum(map(float, tensor_seconds(one, one.dims(**point), network, parallel)))
        for one in (trace, *stages_of(trace))
    ]
    dims, time = trace.dims(**point), step.time
    bubble = bubble_seconds(time, times, parallel)
    handed = 2 * float(np.asarray(hidden_bytes(trace, dims))) / parallel.tp * parallel.chunks
    stages = time.stages if isinstance(time, PipelinedTime) else ()
    return {
        "layers": {
            "tensor_parallel": parallel.tp,
            "pipeline_parallel": parallel.pp,
            "pipeline_chunks": parallel.chunks,
            "pipeline_schedule": parallel.schedule
            or ("interleaved" if parallel.chunks > 1 else "1f1b"),
            "tensor_sent_bytes": times * tensor_sent_bytes(trace, dims, parallel.tp),
            "tensor_seconds": times * max(waits),
            "stage_sent_bytes": times * handed if parallel.pp > 1 else 0.0,
            "stage_seconds": [float(f) + float(b) for f, b in stages],
            "bubble_seconds": bubble,
            "bubble_share": bubble / max(step.seconds.p50, bubble, 1e-12),
        }
    }
