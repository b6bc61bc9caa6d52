"""Which micro-batch, with or without gradient checkpointing: the fastest that fits, found on the
grid, proven by a replay."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from planner.datasets.batching import BatchPlan
from planner.datasets.profile import DatasetProfile
from planner.devices.specification import DeviceSpec
from planner.memory.peak import peak_allocated
from planner.memory.runtime import runtime_memory
from planner.plan.defaults import Choices
from planner.plan.point import Memory, StepResult, memory_at, seconds_per_sample, step_at
from planner.trace.source import TraceSource
from planner.training.recipe import Recipe
from planner.uncertainty.spread import spread

LARGEST_BATCH = 4096
#: A micro-batch from which on recomputing for the sake of a larger one is not considered.
ENOUGH = 4
#: Of the fitting batches, how many of the largest are priced, and how many promises the replay may
#: refuse.
LARGEST, TRIES = 5, 3
#: Batches within this factor of the fastest count as equally fast; the smaller one is taken.
NEAR = 1.02


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
    """(the longest batch's point, the mean padded batch's point) without B: memory from the first,
    time from the second."""
    longest = {"S": _whole(plan.longest_length), "T": _whole(plan.target_longest_length)}
    mean = {"S": _whole(plan.mean_padded_length), "T": _whole(plan.target_mean_padded_length)}
    return longest, mean


def candidates(global_batch: int, gpus: int, asked: int | None) -> list[int]:
    """Micro-batches to try: the asked one, or the powers of two up to each device's share of the
    global batch, and that."""
    if asked:
        return [asked]
    share = max(1, math.ceil(global_batch / gpus))
    sizes = {2**k for k in range(int(math.log2(min(share, LARGEST_BATCH))) + 1)}
    return sorted(sizes | ({share} if share <= LARGEST_BATCH else set()))


def find_setting(
    choices: Choices,
    spec: DeviceSpec,
    data: DatasetProfile,
    gpus: int,
    asked: int | None,
    source_of: Callable[[Recipe], TraceSource],
) -> Setting:
    """The fastest fitting setting; where none fits, the leanest one (its ``memory.fits`` is false).

    Recomputing costs about a third more work, which larger batches rarely give back: the later
    policies are looked at only where the first leaves no micro-batch of ``ENOUGH`` (or the largest
    wanted).
    """
    sizes = candidates(choices.global_batch, gpus, asked)
    tried: list[Setting] = []
    for policy in choices.checkpointing:
        source = source_of(choices.with_checkpointing(policy))
        promises = in_order(_kept_promises(source, choices, spec, data, sizes))
        for promise in promises[:TRIES]:
            tried.append(setting_at(source, choices, spec, data, gpus, promise.size))
            if tried[-1].memory.fits:
                break
        if any(s.memory.fits and s.micro_batch >= min(ENOUGH, sizes[-1]) for s in tried):
            break
    fitting = [setting for setting in tried if setting.memory.fits]
    if fitting:
        return min(fitting, key=lambda s: s.step.seconds.p50 / (s.micro_batch * s.accumulation))
    leanest = setting_at(source, choices, spec, data, gpus, sizes[0])
    return min([*tried, leanest], key=lambda s: (not s.memory.fits, s.memory.device_used_bytes.p50))


def device_seconds_at_least(
    choices: Choices,
    spec: DeviceSpec,
    data: DatasetProfile,
    gpus: int,
    asked: int | None,
    source_of: Callable[[Recipe], TraceSource],
) -> float:
    """A bound on the GPU seconds of training, all devices together, without a replay; 0 where none
    can be given. Raises as ``find_setting``."""
    sizes = candidates(choices.global_batch, gpus, asked)
    source = source_of(choices.with_checkpointing(choices.checkpointing[0]))
    promises = _kept_promises(source, choices, spec, data, sizes)
    if (
        not promises
        or len(choices.checkpointing) > 1
        and max(p.size for p in promises) < min(ENOUGH, sizes[-1])
    ):
        return 0.0  # recomputation may allow larger batches than these
    epoch = min(
        data.batches(
            p.size, padding=choices.padding, max_length=choices.max_length
        ).samples_per_epoch
        for p in promises
    )
    return (
        spread("time", spec.pricing, source.facts.modality, spec.key)
        .around(min(p.seconds for p in promises))
        .p50
        * epoch
        * choices.epochs
    )


@dataclass(frozen=True)
class Promise:
    """A micro-batch that fits by the grid, and its seconds a sample."""

    size: int
    seconds: float


def in_order(promises: list[Promise]) -> list[Promise]:
    """Fastest first; within ``NEAR`` of the fastest the smaller batch."""
    if not promises:
        return []
    fastest = min(p.seconds for p in promises)
    first = min((p for p in promises if p.seconds <= NEAR * fastest), key=lambda p: p.size)
    return [first, *sorted((p for p in promises if p is not first), key=lambda p: p.seconds)]


def _kept_promises(
    source: TraceSource, choices: Choices, spec: DeviceSpec, data: DatasetProfile, sizes: list[int]
) -> list[Promise]:
    """A search over devices asks twice: for a bound, and for the plan of those that it leaves."""
    kept, key = (
        source.__dict__.setdefault("_promises", {}),
        (choices, spec.key, id(data), tuple(sizes)),
    )
    if key not in kept:
        # the data is held so that its id stays its own
        kept[key] = data, _promises(source, choices, spec, data, sizes)
    return kept[key][1]


def _promises(
    source: TraceSource, choices: Choices, spec: DeviceSpec, data: DatasetProfile, sizes: list[int]
) -> list[Promise]:
    """The batches whose live tensors leave room for the context, priced; a batch of one only where
    nothing larger fits."""
    if len(sizes) == 1:
        return [Promise(sizes[0], 0.0)]
    large = np.array([size for size in sizes if size > 1])
    plans = [
        data.batches(int(size), padding=choices.padding, max_length=choices.max_length)
        for size in large
    ]
    longest, means = lengths_of(plans[-1])[0], [lengths_of(plan)[1] for plan in plans]
    trace = source.at(B=int(large[-1]), **longest)
    fitting = np.flatnonzero(
        peak_allocated(trace, trace.dims(B=large, **longest))
        <= room_bytes(spec, source.facts.modality)
    )
    if not fitting.size:
        return [Promise(1, 0.0)] if sizes[0] == 1 else []
    chosen = fitting[-LARGEST:]
    point = {"B": large[chosen]} | {
        name: np.array([means[i][name] for i in chosen])
        for name in ("S", "T")
        if means[0][name] is not None
    }
    seconds = seconds_per_sample(source, spec, point, choices.global_batch)
    return [Promise(int(large[i]), float(s)) for i, s in zip(chosen, seconds)]


def room_bytes(spec: DeviceSpec, family: str) -> float:
    """What live tensors may take of a device, cautiously: its memory without the context, and
    without what the allocator wastes."""
    margin = spread("reserved", spec.pricing, family, spec.key).around(1.0).p90
    return (spec.total_memory_bytes - runtime_memory(spec).context_bytes.p90) / margin


def setting_at(
    source: TraceSource,
    choices: Choices,
    spec: DeviceSpec,
    data: DatasetProfile,
    gpus: int,
    size: int,
) -> Setting:
    plan = data.batches(size, padding=choices.padding, max_length=choices.max_length)
    accumulation = max(1, math.ceil(choices.global_batch / (size * gpus)))
    longest, mean = lengths_of(plan)
    memory = memory_at(source, spec, {"B": size, **longest}, accumulation=accumulation, gpus=gpus)
    step = step_at(source, spec, {"B": size, **mean}, accumulation=accumulation, gpus=gpus)
    return Setting(source, size, accumulation, plan, memory, step)


def _whole(length: float | None) -> int | None:
    return None if length is None else max(1, round(length))
