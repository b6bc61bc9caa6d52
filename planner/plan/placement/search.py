"""Which micro-batch, with or without gradient checkpointing: the fastest that fits, found on the
grid, proven by a replay where somebody asks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from planner.parallel.plan import ParallelPlan
from planner.plan.placement.grid import DeviceGrid
from planner.plan.steps.setting import Setting

#: A micro-batch from which on recomputing for the sake of a larger one is not considered.
ENOUGH = 4
#: How many micro-batches that fit by the grid a replay may refuse.
TRIES = 3
#: Memory within this factor is about as little.
ABOUT = 1.02


@dataclass(frozen=True)
class Settled:
    """A setting and the grid it was found on."""

    grid: DeviceGrid
    setting: Setting

    @property
    def weights_bytes(self) -> float:
        memory, parallel = self.setting.memory, self.setting.step.parallel
        if parallel.sharding:  # all devices together read the whole
            return self.grid.shared.weights_bytes * parallel.shards
        return memory.peak.breakdown["weights"] if memory else self.grid.shared.weights_bytes


def promise(grids: Iterable[DeviceGrid], parallel: ParallelPlan) -> Settled | None:
    """The fastest setting by the grids' word, one grid a policy of checkpointing; None where none
    fits. Raises QuestionError as ``DeviceGrid.promised``."""
    found: list[Settled] = []
    for grid in grids:
        first = next(iter(grid.candidates(parallel)), None)
        if first is not None:
            found.append(Settled(grid, grid.promised(first.micro_batch, parallel)))
        if any(_large_enough(settled, parallel) for settled in found):
            break
    return min(found, key=lambda settled: settled.setting.seconds_per_sample, default=None)


def prove(grids: Iterable[DeviceGrid], parallel: ParallelPlan) -> Settled:
    """The fastest setting that a replay passes; where none does, the leanest (its memory does not
    fit).

    Recomputing costs about a third more work, which larger batches rarely give back: the later
    policies are looked at only where the first leaves no micro-batch of ``ENOUGH`` (or the largest
    wanted). Raises QuestionError as ``DeviceGrid.proven``.
    """
    tried: list[Settled] = []
    seen: list[DeviceGrid] = []
    for grid in grids:
        seen.append(grid)
        for batch in grid.candidates(parallel)[:TRIES]:
            tried.append(Settled(grid, grid.proven(batch.micro_batch, parallel)))
            if _fits(tried[-1]):
                break
        if any(_fits(settled) and _large_enough(settled, parallel) for settled in tried):
            break
    fitting = [settled for settled in tried if _fits(settled)]
    if fitting:
        return min(fitting, key=lambda settled: settled.setting.seconds_per_sample)
    # recomputing is not always leaner: transformers lets gradients flow through frozen blocks then.
    # Every policy is replayed: the grid does not know what the allocator loses, and models that
    # differ by little would be compared under different policies
    least = [
        Settled(grid, grid.proven(grid.shared.micro_batches[parallel][0], parallel))
        for grid in seen
    ]
    return _leanest([*tried, *least])


def _fits(settled: Settled) -> bool:
    return settled.setting.proven_memory.fits


def _large_enough(settled: Settled, parallel: ParallelPlan) -> bool:
    largest = settled.grid.shared.micro_batches[parallel][-1]
    return settled.setting.micro_batch >= min(ENOUGH, largest)


def _leanest(found: Sequence[Settled]) -> Settled:
    """The one that uses least memory; of those that use about as little the fastest."""

    def used(one: Settled) -> float:
        return one.setting.proven_memory.device_used_bytes.p50

    fitting = [one for one in found if _fits(one)] or found
    least = min(map(used, fitting))
    about = [one for one in fitting if used(one) <= ABOUT * least]
    return min(about, key=lambda one: one.setting.seconds_per_sample)
