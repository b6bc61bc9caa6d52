"""The peak of device memory of a run: a trace's lifetimes replayed through the caching allocator,
and what it consists of.

``replay`` is exact for one point; ``peak_allocated`` gives the peak of live tensors over a grid of
points, for searches.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from planner.memory.allocator import (
    MIN_BLOCK,
    PLAIN,
    AllocatorConfig,
    Block,
    CachingAllocator,
    DeviceOutOfMemory,
)
from planner.memory.lifetimes import (
    OPTIMIZER,
    TEMPORARY,
    Schedule,
    before_training,
    first_optimizer_operation,
    first_step,
    steady_step,
)
from planner.memory.live_bytes import peak_allocated
from planner.memory.native_replay import Moment, NativeReplay, plays
from planner.operations.registry import kind_of
from planner.trace.table import CATEGORIES, PHASES, StepTrace

__all__ = ["PeakMemory", "peak_allocated", "replay"]

STEADY_STEPS = 2  # after the first; the allocator's cache is settled by then
_FORWARD = [PHASES.index("forward"), PHASES.index("teacher")]
#: Keys and operations of events; see ``Pieces``.
Piece = tuple[np.ndarray, np.ndarray]
_BACKWARD_THREAD = {PHASES.index("backward"), PHASES.index("recompute")}


@dataclass(frozen=True)
class PeakMemory:
    """``allocated_bytes``: the peak of what ``torch.cuda.max_memory_allocated`` counts;
    ``reserved_bytes``: of what the caching allocator holds. ``breakdown`` (bytes by category) is of
    the moment of the first, and sums to it. ``requested_bytes`` and ``rounded_bytes`` are the same
    tensors before rounding and rounded to 512 B. ``by_module``: the parts of the model that hold
    most at that moment, largest first. ``fits`` is False when ``limit_bytes`` was given and not
    kept even after the cache was given back; the figures are then those of a device without a
    limit. ``regrown``: segments that a step asks the driver for again where it gives them back."""

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
    regrown: int = 0

    @property
    def fragmentation_bytes(self) -> int:
        """Reserved beyond allocated, at their peaks."""
        return self.reserved_bytes - self.allocated_bytes


def replay(
    trace: StepTrace,
    point: Mapping[str, int | None],
    *,
    accumulation: int = 1,
    config: AllocatorConfig = PLAIN,
    workspace: tuple[int, ...] = (),
    limit_bytes: int | None = None,
    emptied: int | None = None,
) -> PeakMemory:
    """Weights, the first step and two steady ones at one point ({"B": 4, "S": 2048}).

    ``workspace``: bytes of the matrix library's workspaces, one taken at the first matrix product
    of the forward pass, the next at the first of the backward pass (each thread has its own
    handle). ``emptied``: the cache goes back to the driver after the forward passes of every so
    manieth step. Raises QuestionError for a missing symbol.
    """
    sizes = trace.storage_bytes(trace.dims(**point))[trace.size]
    pieces = Pieces(trace, sizes, accumulation, workspace)
    steps = _steps(trace, pieces, emptied)
    if plays(config) and emptied is None:
        peak = _replay_native(trace, pieces, config)
        if limit_bytes is None or peak.reserved_bytes <= limit_bytes:
            return peak
    try:
        return replay_by_request(trace, pieces, CachingAllocator(config, limit_bytes), steps)
    except DeviceOutOfMemory:
        found = replay_by_request(trace, pieces, CachingAllocator(config), steps)
        return replace(found, fits=False)


def _steps(trace: StepTrace, pieces: Pieces, emptied: int | None) -> list[Piece]:
    """What is played one after another; with ``emptied`` the cache goes back within the first
    step, and again within the last, those between as often as is asked."""
    if emptied is None:
        return [pieces.start, pieces.first, *[pieces.steady] * STEADY_STEPS]
    first, steady = (
        _emptying(trace, piece, pieces.release) for piece in (pieces.first, pieces.steady)
    )
    between = steady if emptied == 1 else pieces.steady
    return [pieces.start, first, *[between] * STEADY_STEPS, steady]


def _emptying(trace: StepTrace, piece: Piece, release: int) -> Piece:
    """Behind each forward pass, before the first operation that is none of it."""
    keys, operations = piece
    after = np.flatnonzero(~np.isin(trace.op_phase, _FORWARD))
    if not len(after):
        return piece
    is_after = operations >= int(after[0])
    places = np.flatnonzero(is_after & ~np.concatenate([[True], is_after[:-1]]))
    return np.insert(keys, places, release), np.insert(operations, places, int(after[0]))


def passes_within(
    trace: StepTrace,
    point: Mapping[str, int | None],
    *,
    accumulation: int,
    workspace: tuple[int, ...],
    limit_bytes: int,
    config: AllocatorConfig = PLAIN,
) -> bool:
    """``replay(…, limit_bytes=…).fits`` of a point that reserves more than the limit where nothing
    holds the allocator back. Raises as ``replay``."""
    sizes = trace.storage_bytes(trace.dims(**point))[trace.size]
    pieces = Pieces(trace, sizes, accumulation, workspace)
    try:
        _request_all(pieces, CachingAllocator(config, limit_bytes))
    except DeviceOutOfMemory:
        return False
    return True


def _request_all(pieces: Pieces, allocator: CachingAllocator) -> None:
    """Every request of ``replay_by_request``, with nothing written down. Raises
    DeviceOutOfMemory."""
    sizes: list[int] = pieces.sizes.tolist()
    blocks: dict[int, Block] = {}
    allocate, free = allocator.allocate, allocator.free
    for keys, _ in (pieces.start, pieces.first, *[pieces.steady] * STEADY_STEPS):
        wanted: list[int] = keys.tolist()
        for key in wanted:
            if key >= 0:
                block = allocate(sizes[key])
                if block is not None:
                    blocks[key] = block
            elif (block := blocks.pop(~key, None)) is not None:
                free(block)


class Pieces:
    """What a run allocates and frees: ``start``, ``first`` and ``steady`` step, each as (keys,
    operations). Keys are storages, gradients added to earlier ones numbered past them, and
    workspaces past those; ``sizes`` are the bytes of each key. ``release``: a key that gives the
    cache back."""

    def __init__(
        self, trace: StepTrace, sizes: np.ndarray, accumulation: int, workspace: tuple[int, ...]
    ) -> None:
        self.sizes = np.concatenate([sizes, sizes, np.array(workspace, dtype=np.int64)])
        self.release = len(self.sizes)
        weights = before_training(trace, with_optimizer=False)
        self.start = weights, np.full(len(weights), -1)
        self.steady = _joined(steady_step(trace, accumulation))
        parts = first_step(trace, accumulation)
        self.first = _with_workspaces(
            _joined(parts),
            [len(p.storage) for p in parts],
            _workspace_operations(trace, workspace),
            2 * len(sizes),
        )


def _joined(schedules: list[Schedule]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([s.storage for s in schedules]), np.concatenate(
        [s.operation for s in schedules]
    )


def _with_workspaces(
    events: tuple[np.ndarray, np.ndarray],
    lengths: list[int],
    workspaces: list[tuple[int, int]],
    first_key: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Each workspace before the first event, in the first micro-batch, of the operation that takes
    it."""
    keys, operations = events
    within = operations[: lengths[0]]
    places = [int(np.searchsorted(within, at)) for at, _ in workspaces]
    wanted = [at for at, _ in workspaces], [first_key + number for _, number in workspaces]
    return np.insert(keys, places, wanted[1]), np.insert(operations, places, wanted[0])


def _replay_native(trace: StepTrace, pieces: Pieces, config: AllocatorConfig = PLAIN) -> PeakMemory:
    run = NativeReplay(pieces.sizes, config)
    run.play(*pieces.start)
    run.play(*pieces.first)
    for _ in range(STEADY_STEPS):
        reserved = run.reserved_bytes
        run.play(*pieces.steady)
        if reserved == run.reserved_bytes:
            # the same lasting blocks in the same segments as before the step: it repeats itself
            break
    return _summary(trace, pieces.sizes, run.peak(), run.reserved_bytes)


def replay_by_request(
    trace: StepTrace,
    pieces: Pieces,
    allocator: CachingAllocator,
    steps: list[Piece] | None = None,
) -> PeakMemory:
    """As the native replay, one request at a time: for other settings of the allocator and for
    memory that runs out. ``steps``: what is played, one after another."""
    sizes: list[int] = pieces.sizes.tolist()
    blocks: dict[int, Block] = {}
    log: list[tuple[int, int]] = []
    peak = (0, 0, -1)  # allocated, length of the log, operation
    grown = 0
    for keys, operations in steps or _steps(trace, pieces, None):
        grown = allocator.segments
        events: list[tuple[int, int]] = list(zip(keys.tolist(), operations.tolist()))
        for key, operation in events:
            if key == pieces.release:
                allocator.release_cached()
                continue
            block = blocks.pop(~key, None) if key < 0 else allocator.allocate(sizes[key])
            if block is None:
                continue
            log.append((key, block.size))
            if key < 0:
                allocator.free(block)
                continue
            blocks[key] = block
            if allocator.allocated_bytes > peak[0]:
                peak = (allocator.allocated_bytes, len(log), operation)
    live: dict[int, int] = {}
    for key, size in log[: peak[1]]:
        live.pop(~key) if key < 0 else live.update({key: size})
    moment = Moment(
        peak[0],
        np.array(list(live), dtype=np.int64),
        np.array(list(live.values()), dtype=np.int64),
        peak[2],
    )
    reserved = allocator.peak_reserved_bytes
    found = _summary(trace, pieces.sizes, moment, reserved, allocator.retries)
    return replace(found, regrown=allocator.segments - grown)


def _summary(
    trace: StepTrace, sizes: np.ndarray, moment: Moment, reserved_bytes: int, retries: int = 0
) -> PeakMemory:
    operation, requested = moment.operation, sizes[moment.keys]
    at, known = max(operation, 0), 0 <= operation < trace.op_count
    return PeakMemory(
        allocated_bytes=moment.allocated_bytes,
        reserved_bytes=reserved_bytes,
        requested_bytes=int(requested.sum()),
        rounded_bytes=int((-(-requested // MIN_BLOCK) * MIN_BLOCK).sum()),
        breakdown=_breakdown(trace, moment),
        by_module=_by_module(trace, moment),
        peak_operation=operation,
        phase=PHASES[int(trace.op_phase[at])] if known else "before",
        operation=trace.signatures[int(trace.op_signature[at])].op if known else "",
        module=trace.modules[int(trace.op_module[at])] if known else "",
        retries=retries,
    )


def _storages(trace: StepTrace, moment: Moment) -> tuple[np.ndarray, np.ndarray]:
    """(the storage of each key alive, which of them are workspaces)."""
    count = max(1, len(trace.category))
    return moment.keys % count, moment.keys >= 2 * len(trace.category)


def _breakdown(trace: StepTrace, moment: Moment) -> MappingProxyType[str, int]:
    storage, workspace = _storages(trace, moment)
    category = np.full(len(storage), TEMPORARY)
    category[~workspace] = trace.category[storage[~workspace]]
    return MappingProxyType(
        {
            name: int(moment.block_bytes[category == index].sum())
            for index, name in enumerate(CATEGORIES)
        }
    )


def _by_module(trace: StepTrace, moment: Moment) -> tuple[tuple[str, int], ...]:
    """Bytes by part of the model, largest first; of equal ones the one made first."""
    storage, workspace = _storages(trace, moment)
    module = np.full(len(storage), -1)
    module[~workspace] = np.where(
        trace.category[storage[~workspace]] == OPTIMIZER,
        -2,
        trace.storage_module[storage[~workspace]],
    )
    held = np.zeros(int(module.max(initial=0)) + 3, dtype=np.int64)
    np.add.at(held, module, moment.block_bytes)  # the two below 0 come last
    totals: Counter[str] = Counter()
    for index in dict.fromkeys(module.tolist()):
        totals[_part(trace, index)] += int(held[index])
    return tuple(totals.most_common())


def _part(trace: StepTrace, module: int) -> str:
    return (
        "workspace"
        if module == -1
        else "optimizer state"
        if module == -2
        else readable_module(trace.modules[module])
    )


def readable_module(path: str) -> str:
    """A module's path cut at the block that holds it: ``model.layers.3.mlp.gate_proj`` →
    ``model.layers.3``."""
    found = re.match(r"^.*?\.\d+(?=\.|$)|^\d+(?=\.|$)", path)
    return found[0] if found else path or "(whole model)"


def _workspace_operations(trace: StepTrace, workspace: tuple[int, ...]) -> list[tuple[int, int]]:
    """(operation, number) of each workspace that the step takes, in order."""
    if not workspace:
        return []
    products = [kind_of(s.op).library_workspace for s in trace.signatures]
    at = (
        np.flatnonzero(np.asarray(products, dtype=bool)[trace.op_signature])
        if products
        else np.array([], dtype=int)
    )
    at = at[at < first_optimizer_operation(trace)]
    back = np.isin(trace.op_phase[at], list(_BACKWARD_THREAD))
    firsts = [int(part[0]) for part in (at[~back], at[back]) if part.size]
    return sorted((op, number) for number, (op, _) in enumerate(zip(firsts, workspace)))
