"""Which micro-batch, with or without gradient checkpointing: the fastest that fits, found on the grid, proven by a replay."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from planner.datasets.batching import BatchPlan
from planner.datasets.profile import DatasetProfile
from planner.devices.peak import peak_allocated
from planner.devices.runtime_memory import runtime_memory
from planner.devices.specification import DeviceSpec
from planner.plan.choices import Choices
from planner.plan.point import DATASHEET, Memory, StepResult, memory_at, step_at
from planner.plan.uncertainty import spread
from planner.strategies.recipe import Recipe
from planner.trace.source import TraceSource

LARGEST_BATCH = 4096


@dataclass(frozen=True)
class Setting:
    """A micro-batch and a recipe, with what they cost on one device."""

    source: TraceSource
    micro_batch: int
    accumulation: int
    batches: BatchPlan
    memory: Memory
    step: StepResult

    @property
    def recipe(self) -> Recipe:
        return self.source.recipe


def lengths_of(plan: BatchPlan) -> tuple[dict, dict]:
    """(the longest batch's point, the mean padded batch's point) without B: memory from the first, time from the second."""
    longest = {"S": _whole(plan.longest_length), "T": _whole(plan.target_longest_length)}
    mean = {"S": _whole(plan.mean_padded_length), "T": _whole(plan.target_mean_padded_length)}
    return longest, mean


def candidates(global_batch: int, gpus: int, asked: int | None) -> list[int]:
    """Micro-batches to try: the asked one, or the powers of two up to each device's share of the global batch, and that."""
    if asked:
        return [asked]
    share = max(1, math.ceil(global_batch / gpus))
    sizes = {2**k for k in range(int(math.log2(min(share, LARGEST_BATCH))) + 1)}
    return sorted(sizes | ({share} if share <= LARGEST_BATCH else set()))


def find_setting(choices: Choices, spec: DeviceSpec, data: DatasetProfile, gpus: int, asked: int | None,
                 source_of: Callable[[Recipe], TraceSource]) -> Setting:
    """The fastest fitting setting; where none fits, the leanest one (its ``memory.fits`` is false)."""
    sizes = candidates(choices.global_batch, gpus, asked)
    best: Setting | None = None
    for policy in choices.checkpointing:
        source = source_of(choices.with_checkpointing(policy))
        found = _best_of(source, choices, spec, data, gpus, sizes)
        if best is None or _rank(found) < _rank(best):
            best = found
        if found.memory.fits and found.micro_batch == sizes[-1]:
            break  # nothing to gain from recomputing
    return best


def _rank(setting: Setting) -> tuple:
    return (not setting.memory.fits, setting.step.seconds.p50 if setting.memory.fits else setting.memory.device_used_bytes.p50)


def _best_of(source: TraceSource, choices: Choices, spec: DeviceSpec, data: DatasetProfile, gpus: int, sizes: list[int]) -> Setting:
    """Try the batches that the grid says fit, best throughput first; the replay has the last word."""
    order = _by_promise(source, choices, spec, data, sizes) or sizes[:1]
    setting = None
    for size in order[:4]:
        setting = setting_at(source, choices, spec, data, gpus, size)
        if setting.memory.fits:
            return setting
    smallest = sizes[0]
    return setting if setting is not None and setting.micro_batch == smallest else setting_at(source, choices, spec, data, gpus, smallest)


def _by_promise(source: TraceSource, choices: Choices, spec: DeviceSpec, data: DatasetProfile, sizes: list[int]) -> list[int]:
    """The batches whose live tensors fit by the grid, smallest time a sample first (within 2 % the smaller batch)."""
    if len(sizes) == 1:
        return sizes
    plans = {size: data.batches(size, padding=choices.padding, max_length=choices.max_length) for size in sizes}
    room = spec.total_memory_bytes - runtime_memory(spec).context_bytes.p90
    margin = spread("allocated", DATASHEET, source.facts.modality).around(1.0).p90
    large = [size for size in sizes if size > 1]
    longest = lengths_of(plans[large[-1]])[0]
    trace = source.at(B=large[-1], **longest)
    peaks = peak_allocated(trace, trace.dims(B=np.array(large), **longest)) * margin
    fitting = [size for size, peak in zip(large, np.atleast_1d(peaks)) if peak <= room]
    if not fitting:
        return [1] if sizes[0] == 1 else []
    seconds = {size: setting_seconds(source, choices, spec, plans[size], size) for size in fitting[-5:]}
    fastest = min(seconds.values())
    near = [size for size in fitting if size in seconds and seconds[size] <= 1.02 * fastest]
    return near[:1] + sorted((s for s in seconds if s != near[0]), key=seconds.get) + ([1] if sizes[0] == 1 else [])


def setting_seconds(source: TraceSource, choices: Choices, spec: DeviceSpec, plan: BatchPlan, size: int) -> float:
    """Seconds a sample, the optimizer's update shared by the global batch."""
    step = step_at(source, spec, {"B": size, **lengths_of(plan)[1]}, accumulation=max(1, math.ceil(choices.global_batch / size)))
    return step.seconds.p50 / (step.micro_batch * step.accumulation)


def setting_at(source: TraceSource, choices: Choices, spec: DeviceSpec, data: DatasetProfile, gpus: int, size: int) -> Setting:
    plan = data.batches(size, padding=choices.padding, max_length=choices.max_length)
    accumulation = max(1, math.ceil(choices.global_batch / (size * gpus)))
    longest, mean = lengths_of(plan)
    memory = memory_at(source, spec, {"B": size, **longest}, accumulation=accumulation, gpus=gpus)
    step = step_at(source, spec, {"B": size, **mean}, accumulation=accumulation, gpus=gpus)
    return Setting(source, size, accumulation, plan, memory, step)


def _whole(length: float | None) -> int | None:
    return None if length is None else max(1, round(length))
