"""A step and its memory, stated anew with the spreads and corrections of this moment: nothing is
priced or replayed again."""

from __future__ import annotations

from dataclasses import replace

from planner.devices.specification import DeviceSpec
from planner.parallel.model.experts import expert_gradient_bytes
from planner.plan.steps.point import Memory, StepResult, memory_of, runtime_of, step_of
from planner.plan.steps.setting import Setting
from planner.trace.source import TraceSource


def restated(setting: Setting, spec: DeviceSpec) -> Setting:
    """The same micro-batch on the same device; its memory must have been replayed."""
    source, memory = setting.source, setting.proven_memory
    return replace(
        setting,
        step=_step(setting, spec),
        memory=_memory(memory, source, spec),
    )


def _step(setting: Setting, spec: DeviceSpec) -> StepResult:
    step, source = setting.step, setting.source
    trace = source.at(B=step.micro_batch, **setting.mean)
    return step_of(
        step.time,
        source,
        spec,
        gradient_bytes=float(trace.meta.get("gradient_bytes", 0)),
        of_experts=expert_gradient_bytes(trace),
        micro_batch=step.micro_batch,
        accumulation=step.accumulation,
        parallel=step.parallel,
    )


def _memory(memory: Memory, source: TraceSource, spec: DeviceSpec) -> Memory:
    """Evaluations are as they were."""
    made = memory_of(
        memory.peak,
        memory.bucket_bytes,
        runtime_of(spec),
        spec,
        source.facts.modality,
        gives_back=memory.gives_back,
    )
    return replace(made, evaluation=memory.evaluation)
