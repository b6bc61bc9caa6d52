"""One stage on one device at every micro-batch that may fit: peaks and times of the whole grid at
once, so that a count of devices, a provider or a checkpointing policy costs arithmetic only."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from planner.datasets.batching import BatchPlan
from planner.devices.specification import DeviceSpec
from planner.errors import NoCheckpointingError
from planner.memory.peak import peak_allocated
from planner.parallel.data_parallel import bucket_bytes
from planner.parallel.model.experts import expert_gradient_bytes
from planner.parallel.pipelined import bubble_share
from planner.parallel.plan import ALONE, ParallelPlan
from planner.parallel.shared_time import shared_time
from planner.plan.around.allocator import allocator_of
from planner.plan.around.clipping import is_clipped
from planner.plan.inputs.of_its_day import stack_kernels
from planner.plan.inputs.problem import Problem
from planner.plan.phases.rollouts import training_share
from planner.plan.placement.variants import Stage
from planner.plan.steps.point import (
    Memory,
    memory_at,
    room_bytes,
    short_bytes_at_least,
    step_at,
    step_of,
)
from planner.plan.steps.setting import (
    Setting,
    accumulation_steps,
    keeping,
    longest_lengths,
    mean_lengths,
    micro_batches,
)
from planner.question.stack import stack_of
from planner.step_time.clock import StepClock, StepTime
from planner.step_time.least import least_seconds
from planner.trace.memo import Memo
from planner.trace.source import TraceSource
from planner.trace.table import CATEGORIES, StepTrace
from planner.training.host_memory import NARROW

#: Of the fitting micro-batches, how many of the largest are priced.
LARGEST = 5
#: Micro-batches within this factor of the fastest count as equally fast; the smaller one is taken.
NEAR = 1.02
_Made = TypeVar("_Made")


@dataclass(frozen=True)
class FittingBatch:
    """A micro-batch whose live tensors leave room for the context, and its seconds a padded token
    (a sample where there are none): trainers take the batch that keeps the device busy, not the one
    that pads least."""

    micro_batch: int
    seconds_each: float


class SourceGrid:
    """A trace at all micro-batches that any parallel plan may ask for: what no device changes."""

    def __init__(
        self,
        source: TraceSource,
        problem: Problem,
        stage: Stage,
        plans: Sequence[ParallelPlan],
    ) -> None:
        """``plans``: a device's micro-batch takes the same under each."""
        self.source, self.choices, self.problem = source, stage.choices, problem
        #: Any of the plans, which a device's own step is the same under.
        self.plan = plans[0]
        asked, batch = stage.choices.micro_batch, stage.choices.global_batch
        # of one device: what shares state adds gradients up
        once = stage.choices.recipe.updates_once and not self.plan.sharding
        self.micro_batches = {plan: micro_batches(batch, plan, asked, once=once) for plan in plans}
        sizes = sorted(set().union(*self.micro_batches.values()))
        self.large = np.array([size for size in sizes if size > 1] or sizes)
        self.batches = {size: self._batches(size) for size in sizes}
        self.longest = longest_lengths(self.batches[sizes[-1]])
        self.kernels = stack_kernels(stack_of(problem.question.stack), source.facts)

    def _batches(self, micro_batch: int) -> BatchPlan:
        choices = self.choices
        return self.problem.data.batches(
            micro_batch,
            padding=choices.padding,
            max_length=choices.max_length,
            target_max_length=choices.target_max_length,
            grouped_step=self._grouped_step,
        )

    @property
    def _grouped_step(self) -> int | None:
        """Samples of a device in a step, where its sampler groups them by length: of the fewest
        devices of several plans."""
        if not self.choices.group_by_length:
            return None
        fewest = min(plan.data_parallel for plan in self.micro_batches)
        return math.ceil(self.choices.global_batch / fewest)

    @cached_property
    def trace(self) -> StepTrace:
        """At the longest batch of the largest micro-batch, as memory is of."""
        return self.source.largest.at(B=int(self.large[-1]), **self.longest)

    @cached_property
    def peaks(self) -> np.ndarray:
        """Live bytes at each of ``large``, kept with the trace."""
        trace = self.trace
        dims = trace.dims(B=self.large, **self.longest)
        key = dims.shape, dims.tobytes()
        return trace.memo.of("peaks", key, lambda: np.atleast_1d(peak_allocated(trace, dims)))

    @property
    def least_bytes(self) -> float:
        """A bound on the peak of a batch of one: the peak is convex in the batch, and a batch of
        one, traced for itself, never holds less."""
        if len(self.large) < 2:
            return 0.0
        (first, second), (low, high) = self.large[:2], self.peaks[:2]
        return float(low - (high - low) / (second - first) * (first - 1))

    @property
    def gradient_bytes(self) -> float:
        return float(self.trace.meta.get("gradient_bytes", 0))

    @cached_property
    def weights_bytes(self) -> float:
        there = (self.trace.birth < 0) & (self.trace.category == CATEGORIES.index("weights"))
        sizes = self.trace.storage_bytes(self.trace.dims(B=int(self.large[-1]), **self.longest))
        return float(sizes[self.trace.size[there]].sum())


@dataclass
class DeviceGrid:
    """A source's grid on one device. Times are of one micro-batch step on one device, at the mean
    padded lengths."""

    shared: SourceGrid
    spec: DeviceSpec
    memo: Memo = field(default_factory=Memo, repr=False)

    @cached_property
    def room(self) -> float:
        return room_bytes(self.spec, self.shared.source.facts.modality)

    @cached_property
    def fitting(self) -> list[int]:
        grid = zip(self.shared.large, self.shared.peaks, strict=True)
        return [int(size) for size, peak in grid if peak <= self.room]

    @cached_property
    def times(self) -> dict[int, StepTime]:
        """Of every micro-batch that some parallel plan looks at."""
        wanted = set()
        for sizes in self.shared.micro_batches.values():
            wanted |= set([size for size in sizes if size in self.fitting][-LARGEST:])
        return self._priced(sorted(wanted)) if wanted else {}

    def time(self, micro_batch: int) -> StepTime:
        if micro_batch not in self.times:
            self.times.update(self._priced([micro_batch]))
        return self.times[micro_batch]

    def _priced(self, sizes: list[int]) -> dict[int, StepTime]:
        shared, recipe = self.shared, self.shared.source.recipe
        means = [mean_lengths(shared.batches[size]) for size in sizes]
        point = {"B": np.array(sizes)} | {
            name: np.array([mean[name] for mean in means])
            for name in ("S", "T")
            if means[0][name] is not None
        }
        trace = shared.source.at(**{name: int(values[-1]) for name, values in point.items()})
        time = shared_time(
            StepClock(self.spec, shared.kernels),
            trace,
            trace.dims(**point),
            precision=recipe.precision,
            compiled=recipe.compile,
            parallel=shared.plan,
        )
        return {size: time.column(index) for index, size in enumerate(sizes)}

    def candidates(self, parallel: ParallelPlan) -> list[FittingBatch]:
        """Micro-batches that fit by the grid, the best first. Where none does the smallest, if a
        replay might still pass it: a replay is less cautious than the grid."""
        sizes = self.shared.micro_batches[parallel]
        fitting = [size for size in sizes if size in self.fitting][-LARGEST:]
        if not fitting:
            return [FittingBatch(sizes[0], 0.0)] if self.short_bytes(parallel) <= 0 else []
        fitting = keeping(fitting, self.shared.choices.global_batch, parallel)
        if len(sizes) == 1:
            return [FittingBatch(sizes[0], 0.0)]
        return in_order(
            [FittingBatch(size, self._seconds_each(size, parallel)) for size in fitting]
        )

    def short_bytes(self, parallel: ParallelPlan) -> float:
        """How far the smallest micro-batch is from passing any replay: at most 0 where it may."""
        shared = self.shared
        smallest = shared.micro_batches[parallel][0]
        at = {int(size): float(peak) for size, peak in zip(shared.large, shared.peaks, strict=True)}
        # a batch of one is recorded apart: no more than a bound is known of it
        live = at[smallest] if smallest in at else shared.least_bytes
        live += bucket_bytes(shared.gradient_bytes, parallel.copies)
        return short_bytes_at_least(self.spec, shared.source.facts.modality, live)

    def least_seconds_per_sample(self, parallel: ParallelPlan, *, shares: bool = False) -> float:
        """A bound on the seconds that all devices together give to one sample at any micro-batch
        that ``candidates`` of this policy of checkpointing or a later one name; 0 where none can be
        given. ``shares``: whatever state as many devices share: their parts of the update are not
        looked at, and of mixed precision, which then runs in 16 bits, the products alone."""
        shared = self.shared
        trace = shared.source.at(B=int(shared.large[-1]), **shared.longest)
        every = shared.micro_batches[parallel]
        sizes = [size for size in every if size > 1] if self.fitting else every
        sizes = sizes or every
        means = [mean_lengths(shared.batches[size]) for size in sizes]
        # a batch of one has a trace of its own, with the same products: half of a batch of two
        batch = np.array([max(size, min(2, int(shared.large[-1]))) for size in sizes])
        point = {"B": batch} | {
            name: np.array([mean[name] for mean in means])
            for name in ("S", "T")
            if means[0][name] is not None
        }
        if not all(trace.covers(**at) for at in _points(point)):
            return 0.0
        recipe = shared.source.recipe
        least = least_seconds(
            trace,
            trace.dims(**point),
            self.spec,
            precision=recipe.precision,
            compiled=recipe.compile,
            kernels=shared.kernels,
        )
        alone = np.array(sizes) < batch
        narrow = shares and recipe.precision in NARROW
        passes = np.where(alone | narrow, least.products, least.micro_batch) / batch
        steps = [
            size * accumulation_steps(shared.choices.global_batch, size, parallel) for size in sizes
        ]
        each = passes + np.where(alone | shares, 0.0, least.update) / np.array(steps)
        return float(each.min()) / parallel.data_parallel

    def _seconds_each(self, micro_batch: int, parallel: ParallelPlan) -> float:
        """A padded token (or sample) on one device, with its share of the update and a bubble."""
        time, batch = self.time(micro_batch), self.shared.choices.global_batch
        shared = time.optimizer_seconds / accumulation_steps(batch, micro_batch, ALONE)
        shared += bubble_share(time, self._accumulation(micro_batch, parallel), parallel)
        tokens = self.shared.batches[micro_batch].padded_tokens_per_sample or 1.0
        return float((time.seconds - time.optimizer_seconds + shared) / micro_batch / tokens)

    def promised(self, micro_batch: int, parallel: ParallelPlan) -> Setting:
        """A setting that fits by the grid's word. Raises QuestionError where no source gives the
        link between devices."""
        shared, accumulation = self.shared, self._accumulation(micro_batch, parallel)
        step = step_of(
            self.time(micro_batch),
            shared.source,
            self.spec,
            gradient_bytes=shared.gradient_bytes,
            of_experts=expert_gradient_bytes(shared.trace),
            micro_batch=micro_batch,
            accumulation=accumulation,
            parallel=parallel,
        )
        return Setting(
            source=shared.source,
            micro_batch=micro_batch,
            accumulation=accumulation,
            batches=shared.batches[micro_batch],
            memory=None,
            step=step,
        )

    def proven(self, micro_batch: int, parallel: ParallelPlan) -> Setting:
        """A setting whose memory a replay has found; whether it fits is in it. Raises
        QuestionError as ``promised``."""
        source, batches = self.shared.source, self.shared.batches[micro_batch]
        accumulation = self._accumulation(micro_batch, parallel)
        memory = self._memory(micro_batch, accumulation, parallel)
        point = {"B": micro_batch, **mean_lengths(batches)}
        step = step_at(
            source,
            self.spec,
            point,
            accumulation=accumulation,
            parallel=parallel,
            kernels=self.shared.kernels,
        )
        return Setting(
            source=source,
            micro_batch=micro_batch,
            accumulation=accumulation,
            batches=batches,
            memory=memory,
            step=step,
        )

    def _memory(self, micro_batch: int, accumulation: int, parallel: ParallelPlan) -> Memory:
        return memory_at(
            self.shared.source,
            self.spec,
            {"B": micro_batch, **longest_lengths(self.shared.batches[micro_batch])},
            accumulation=accumulation,
            parallel=parallel,
            replays=self.shared.problem.replays,
            clips=is_clipped(self.shared.problem.question)
            and not self.shared.source.recipe.updates_on_host,
            config=allocator_of(self.shared.problem.question),
            emptied=self.shared.problem.question.empty_cache_steps,
        )

    def _accumulation(self, micro_batch: int, parallel: ParallelPlan) -> int:
        return accumulation_steps(self.shared.choices.global_batch, micro_batch, parallel)


def _points(point: Mapping[str, np.ndarray]) -> Iterator[dict[str, int]]:
    """A grid's points one by one."""
    for values in zip(*point.values(), strict=True):
        yield dict(zip(point, map(int, values), strict=True))


def in_order(fitting: list[FittingBatch]) -> list[FittingBatch]:
    """Fastest first; within ``NEAR`` of the fastest the smaller batch."""
    if not fitting:
        return []
    fastest = min(batch.seconds_each for batch in fitting)
    near = [batch for batch in fitting if batch.seconds_each <= NEAR * fastest]
    first = min(near, key=lambda batch: batch.micro_batch)
    others = sorted(
        (batch for batch in fitting if batch is not first),
        key=lambda batch: batch.seconds_each,
    )
    return [first, *others]


class Grids:
    """Hands out grids: one a trace source, one a device on it."""

    def __init__(self, problem: Problem, plans: Sequence[ParallelPlan]) -> None:
        self.problem, self.plans = problem, tuple(plans)
        self._shared: dict[tuple[Any, ...], SourceGrid] = {}
        self._device: dict[tuple[Any, ...], DeviceGrid] = {}

    def of(
        self, stage: Stage, spec: DeviceSpec, parallel: ParallelPlan = ALONE
    ) -> Iterator[DeviceGrid]:
        """The grids of a stage on a device of a plan, one a policy of checkpointing in the order of
        preference, made when they are reached: most devices never need the second policy's
        trace. A model without checkpointing has the first alone."""
        for number, policy in enumerate(stage.choices.checkpointing):
            grid = self._one(stage, policy, spec, parallel)
            if number and not _recomputes(grid):
                return
            yield grid

    def _one(
        self, stage: Stage, policy: str, spec: DeviceSpec, parallel: ParallelPlan
    ) -> DeviceGrid:
        choices, spec = stage.choices, training_share(self.problem.question, spec)
        recipe = choices.with_checkpointing(policy)
        source = self.problem.source(recipe, stage.facts, stage.teacher, parallel)
        alike, padded = parallel.priced_alike, (choices.padding, choices.group_by_length)
        plans = [plan for plan in self.plans if plan.priced_alike == alike] or [parallel]
        key = (id(source), choices.global_batch, choices.max_length, *padded, alike)
        shared = _kept(self._shared, key, lambda: SourceGrid(source, self.problem, stage, plans))
        # a device may be asked on several bases, each priced for itself
        on = key, spec.key, spec.pricing, spec.machine
        return _kept(self._device, on, lambda: DeviceGrid(shared, spec))


def _recomputes(grid: DeviceGrid) -> bool:
    """Whether the model can be run under the grid's policy of checkpointing."""
    try:
        return len(grid.shared.trace.signatures) > 0
    except NoCheckpointingError:
        return False


def _kept(
    kept: dict[tuple[Any, ...], _Made], key: tuple[Any, ...], make: Callable[[], _Made]
) -> _Made:
    if key not in kept:
        kept[key] = make()
    return kept[key]
