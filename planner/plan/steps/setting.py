"""A micro-batch and a recipe with what they cost on devices, and the small arithmetic that every
search shares: which micro-batches, how many of them a step accumulates, at which lengths."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from planner.datasets.batching import BatchPlan
from planner.parallel.model.experts import is_of_experts
from planner.parallel.plan import ParallelPlan
from planner.plan.steps.point import Memory, StepResult
from planner.trace.source import TraceSource
from planner.trace.table import CATEGORIES, StepTrace, traced_length
from planner.training.recipe import Recipe

LARGEST_MICRO_BATCH = 4096
Lengths = dict[str, int | None]


@dataclass(frozen=True)
class Setting:
    """A micro-batch and a recipe, with what they cost on one device. ``memory`` is None as long as
    only the grid says that it fits, and no replay has."""

    source: TraceSource
    micro_batch: int
    accumulation: int
    batches: BatchPlan
    memory: Memory | None
    step: StepResult

    @property
    def recipe(self) -> Recipe:
        return self.source.recipe

    @property
    def longest(self) -> Lengths:
        """S and T of the longest batch, which memory is of."""
        return longest_lengths(self.batches)

    @property
    def mean(self) -> Lengths:
        """S and T of the mean padded batch, which time is of."""
        return mean_lengths(self.batches)

    def longest_trace(self) -> StepTrace:
        """The trace at the longest batch: its ``meta`` counts parameters and checkpoint bytes."""
        return self.source.largest.at(B=self.micro_batch, **self.longest)

    @property
    def checkpoint_bytes(self) -> float:
        return self.longest_trace().meta["checkpoint_bytes"]

    @property
    def weights_bytes(self) -> float:
        """Of a whole copy of the model, as a replay found it."""
        parallel = self.step.parallel
        if not (parallel.sharding or parallel.is_split or parallel.is_parted):
            return self.proven_memory.peak.breakdown["weights"]
        return self._of_a_copy("weights")

    @property
    def optimizer_bytes(self) -> float:
        """What the optimizer holds between two steps, here or on the host, as a checkpoint keeps
        it."""
        of_host = float(self.longest_trace().meta.get("host_state_bytes", 0))
        return self._of_a_copy("optimizer") + of_host

    def _of_a_copy(self, category: str) -> float:
        """Bytes of a whole copy between two steps, which devices have parts of."""
        trace, parallel = self.longest_trace(), self.step.parallel
        held = (trace.birth < 0) & (trace.category == CATEGORIES.index(category))
        sizes = trace.storage_bytes(trace.dims(B=self.micro_batch, **self.longest))
        own = np.array([is_of_experts(trace, shape) for shape, _ in trace.sizes], dtype=bool)
        shares = parallel.ep * (parallel.same_experts if parallel.sharding else 1)
        parts = np.where(own, shares, parallel.shards * parallel.tp) * parallel.pp
        return float((sizes * parts)[trace.size[held]].sum())

    @property
    def proven_memory(self) -> Memory:
        """The replayed memory. Raises ValueError for a setting that no replay has proven."""
        if self.memory is None:
            raise ValueError("a setting of the grid has no memory before a replay")
        return self.memory

    @property
    def seconds_per_sample(self) -> float:
        """Seconds of a step over the samples that one device gives it."""
        return self.step.seconds.p50 / (self.micro_batch * self.accumulation)


def longest_lengths(plan: BatchPlan) -> Lengths:
    return {"S": traced_length(plan.longest_length), "T": traced_length(plan.target_longest_length)}


def mean_lengths(plan: BatchPlan) -> Lengths:
    return {
        "S": traced_length(plan.mean_padded_length),
        "T": traced_length(plan.target_mean_padded_length),
    }


def accumulation_steps(global_batch: int, micro_batch: int, parallel: ParallelPlan) -> int:
    """Micro-batches that each device runs before an update."""
    return max(1, math.ceil(global_batch / (micro_batch * parallel.data_parallel)))


def micro_batches(
    global_batch: int, parallel: ParallelPlan, asked: int | None, *, once: bool = False
) -> list[int]:
    """Micro-batches to try: the asked one, or the powers of two up to each device's share of the
    global batch, and that share; the share alone where a step is ``once`` a micro-batch."""
    if asked:
        return [asked]
    share = max(1, math.ceil(global_batch / parallel.data_parallel))
    if once:
        return [share]
    sizes = {2**k for k in range(int(math.log2(min(share, LARGEST_MICRO_BATCH))) + 1)}
    return sorted(sizes | ({share} if share <= LARGEST_MICRO_BATCH else set()))


def keeping(sizes: list[int], global_batch: int, parallel: ParallelPlan) -> list[int]:
    """Of micro-batches, ascending, those of which accumulation makes the global batch, and those
    larger than any that does: a smaller one that changes it is never needed."""
    kept = [
        size
        for size in sizes
        if size * accumulation_steps(global_batch, size, parallel) * parallel.data_parallel
        == global_batch
    ]
    most = kept[-1] if kept else 0
    return [size for size in sizes if size in kept or size > most]
