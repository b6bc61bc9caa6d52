"""The peak of device memory of a run: a trace's lifetimes replayed through the caching allocator, and what it consists of.

``replay`` is exact for one point; ``peak_allocated`` gives the peak of live tensors over a grid of points, for searches.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from planner.devices.allocator import AllocatorConfig, CachingAllocator, DeviceOutOfMemory, round_size
from planner.devices.lifetimes import OPTIMIZER, TEMPORARY, before_training, first_optimizer_operation, first_step, steady_step
from planner.devices.live_bytes import peak_allocated
from planner.trace.operations import kind_of
from planner.trace.table import CATEGORIES, PHASES, StepTrace

__all__ = ["PeakMemory", "peak_allocated", "replay"]

STEADY_STEPS = 2  # after the first; the allocator's cache is settled by then
_BACKWARD_THREAD = {PHASES.index("backward"), PHASES.index("recompute")}


@dataclass(frozen=True)
class PeakMemory:
    """``allocated_bytes``: the peak of what ``torch.cuda.max_memory_allocated`` counts; ``reserved_bytes``: of what the
    caching allocator holds. ``breakdown`` (bytes by category) is of the moment of the first, and sums to it.
    ``requested_bytes`` and ``rounded_bytes`` are the same tensors before rounding and rounded to 512 B. ``by_module``: the
    parts of the model that hold most at that moment, largest first. ``fits`` is False when ``limit_bytes`` was given and
    not kept even after the cache was given back; the figures are then those of a device without a limit."""

    allocated_bytes: int
    reserved_bytes: int
    requested_bytes: int
    rounded_bytes: int
    breakdown: MappingProxyType[str, int]
    by_module: tuple[tuple[str, int], ...]
    peak_operation: int
    phase: str
    operation: str
    module: str
    fits: bool = True
    retries: int = 0

    @property
    def fragmentation_bytes(self) -> int:
        """Reserved beyond allocated, at their peaks."""
        return self.reserved_bytes - self.allocated_bytes


def replay(trace: StepTrace, point: dict, *, accumulation: int = 1, config: AllocatorConfig = AllocatorConfig(), workspace: tuple[int, ...] = (),
           limit_bytes: int | None = None) -> PeakMemory:
    """Weights, the first step and two steady ones at one point ({"B": 4, "S": 2048}).

    ``workspace``: bytes of the matrix library's workspaces, one taken at the first matrix product of the forward pass, the
    next at the first of the backward pass (each thread has its own handle). Raises QuestionError for a missing symbol.
    """
    sizes = trace.storage_bytes(trace.dims(**point))[trace.size].tolist()
    try:
        return _Replay(trace, sizes, workspace, CachingAllocator(config, limit_bytes)).run(accumulation)
    except DeviceOutOfMemory:
        return replace(_Replay(trace, sizes, workspace, CachingAllocator(config)).run(accumulation), fits=False)


class _Replay:
    """State of one replay. The log holds each allocation and release; the peak is a position in it."""

    def __init__(self, trace: StepTrace, sizes: list[int], workspace: tuple[int, ...], allocator: CachingAllocator):
        self.trace, self.allocator = trace, allocator
        self.sizes = sizes + sizes  # gradients added to earlier ones are numbered past the storages
        self.blocks: dict = {}
        self.log: list[tuple] = []  # (key, block bytes or None for a release)
        self.peak = (0, 0, -1)  # allocated, length of the log, operation
        self.workspaces = _workspace_operations(trace, workspace)

    def run(self, accumulation: int) -> PeakMemory:
        for storage in before_training(self.trace, with_optimizer=False).tolist():
            self._allocate(storage, self.sizes[storage], -1)
        self._play(first_step(self.trace, accumulation))
        steady = steady_step(self.trace, accumulation)
        for _ in range(STEADY_STEPS):
            before = self.allocator.peak_reserved_bytes, self.peak[0]
            self._play(steady)
            if before == (self.allocator.peak_reserved_bytes, self.peak[0]):
                break  # a step that asked for nothing new repeats itself
        return self._summary()

    def _play(self, schedules) -> None:
        for schedule in schedules:
            for storage, operation in zip(schedule.storage.tolist(), schedule.operation.tolist()):
                if self.workspaces and operation >= self.workspaces[0][0]:
                    at, number, size = self.workspaces.pop(0)
                    self._allocate(("workspace", number), size, at)
                if storage >= 0:
                    self._allocate(storage, self.sizes[storage], operation)
                else:
                    self._release(~storage)

    def _allocate(self, key, size: int, operation: int) -> None:
        block = self.allocator.allocate(size)
        if block is None:
            return
        self.blocks[key] = block
        self.log.append((key, block.size))
        if self.allocator.allocated_bytes > self.peak[0]:
            self.peak = (self.allocator.allocated_bytes, len(self.log), operation)

    def _release(self, key) -> None:
        block = self.blocks.pop(key, None)
        if block is not None:
            self.allocator.free(block)
            self.log.append((key, None))

    def _summary(self) -> PeakMemory:
        trace, (allocated, position, operation) = self.trace, self.peak
        live: dict = {}
        for key, size in self.log[:position]:
            if size is None:
                del live[key]
            else:
                live[key] = size
        at = max(operation, 0)
        known = 0 <= operation < trace.op_count
        requested = [self._requested(key, size) for key, size in live.items()]
        return PeakMemory(
            allocated_bytes=allocated, reserved_bytes=self.allocator.peak_reserved_bytes, requested_bytes=sum(requested),
            rounded_bytes=sum(map(round_size, requested)), breakdown=self._breakdown(live), by_module=self._by_module(live), peak_operation=operation,
            phase=PHASES[trace.op_phase[at]] if known else "before", operation=trace.signatures[trace.op_signature[at]].op if known else "",
            module=trace.modules[trace.op_module[at]] if known else "", retries=self.allocator.retries)

    def _requested(self, key, size: int) -> int:
        return size if isinstance(key, tuple) else self.sizes[key]

    def _category(self, key) -> int:
        return TEMPORARY if isinstance(key, tuple) else int(self.trace.category[key % len(self.trace.category)])

    def _breakdown(self, live: dict) -> MappingProxyType[str, int]:
        totals = dict.fromkeys(CATEGORIES, 0)
        for key, size in live.items():
            totals[CATEGORIES[self._category(key)]] += size
        return MappingProxyType(totals)

    def _by_module(self, live: dict) -> tuple[tuple[str, int], ...]:
        totals: Counter = Counter()
        for key, size in live.items():
            totals[self._part(key)] += size
        return tuple(totals.most_common())

    def _part(self, key) -> str:
        if isinstance(key, tuple):
            return "workspace"
        storage = key % len(self.trace.category)
        return "optimizer state" if self.trace.category[storage] == OPTIMIZER else readable_module(self.trace.modules[self.trace.storage_module[storage]])


def readable_module(path: str) -> str:
    """A module's path cut at the block that holds it: ``model.layers.3.mlp.gate_proj`` → ``model.layers.3``."""
    found = re.match(r"^.*?\.\d+(?=\.|$)|^\d+(?=\.|$)", path)
    return found[0] if found else path or "(whole model)"


def _workspace_operations(trace: StepTrace, workspace: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """(operation, number, bytes) of each workspace that the step takes, in order."""
    if not workspace:
        return []
    products = [kind_of(s.op) == "matmul" for s in trace.signatures]
    at = np.flatnonzero(np.asarray(products, dtype=bool)[trace.op_signature]) if products else np.array([], dtype=int)
    at = at[at < first_optimizer_operation(trace)]
    back = np.isin(trace.op_phase[at], list(_BACKWARD_THREAD))
    firsts = [int(part[0]) for part in (at[~back], at[back]) if part.size]
    return sorted((op, number, size) for number, (op, size) in enumerate(zip(firsts, workspace)))
