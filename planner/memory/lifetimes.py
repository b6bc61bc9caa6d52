"""The order in which a training loop allocates and frees a trace's storages, one micro-batch at a
time.

A trace is one steady step. A run's first step makes the optimizer's state when the optimizer first
runs; with gradient accumulation only the last micro-batch of a step runs the optimizer, gradients
outlive the micro-batches, and those of later micro-batches live just until they are added to what
is there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.trace.table import CATEGORIES, PHASES, StepTrace

WEIGHTS, GRADIENTS, OPTIMIZER, ACTIVATIONS, TEMPORARY = (
    CATEGORIES.index(c) for c in ("weights", "gradients", "optimizer", "activations", "temporary")
)
_BEFORE, _DURING, _AFTER = 0, 1, 2  # order of what happens around one operation
_SLOTS = 4
#: (storages or ``~storages``, their operations, before, during or after them).
_Events = tuple[np.ndarray, np.ndarray, int]


@dataclass(frozen=True)
class Schedule:
    """``storage[e] ≥ 0`` allocates that storage before or during operation ``operation[e]``;
    ``~storage[e]`` frees it. A gradient that is added to an earlier one has the number of its
    storage plus the count of storages."""

    storage: np.ndarray  # int64 [n_events]
    operation: np.ndarray  # int64 [n_events]


def first_optimizer_operation(trace: StepTrace) -> int:
    """Index of the first operation of the optimizer phase; ``op_count`` for a trace without one."""
    found = np.flatnonzero(trace.op_phase == PHASES.index("optimizer"))
    return int(found[0]) if found.size else trace.op_count


def before_training(trace: StepTrace, *, with_optimizer: bool) -> np.ndarray:
    """Storages that are there before the first step, in the order they were made."""
    there = trace.birth < 0
    wanted = trace.category == WEIGHTS
    return np.flatnonzero(
        there & ((wanted | (trace.category == OPTIMIZER)) if with_optimizer else wanted)
    )


def micro_batch(
    trace: StepTrace, *, first: bool = True, last: bool = True, makes_state: bool = False
) -> Schedule:
    """One micro-batch: ``first`` and ``last`` of its step; ``makes_state`` when the optimizer runs
    for the first time."""
    count, end, optimizer_at = len(trace.birth), trace.op_count, first_optimizer_operation(trace)
    lasting = (trace.birth < 0) & ((trace.category == WEIGHTS) | (trace.category == OPTIMIZER))
    # one that leaves before the update waits for nothing
    reaches = trace.death >= optimizer_at
    gradient = (trace.category == GRADIENTS) & (trace.birth >= 0) & reaches
    horizon = end if last else optimizer_at
    own = ~lasting & (trace.birth < horizon)
    if not first:
        own &= ~gradient
    frees = own | gradient if last else own & ~gradient
    numbers = np.arange(count)
    events: list[_Events] = [
        (numbers[own], trace.birth[own], _DURING),
        (~numbers[frees], np.minimum(trace.death[frees], horizon), _AFTER),
    ]
    if not first:
        again = numbers[gradient]
        events += [
            (again + count, trace.birth[again], _DURING),
            (~(again + count), np.minimum(trace.birth[again] + 1, horizon), _AFTER),
        ]
    if makes_state and last:
        state = numbers[(trace.birth < 0) & (trace.category == OPTIMIZER)]
        events.append((state, np.full(len(state), optimizer_at), _BEFORE))
    return _ordered(events)


def _ordered(events: list[_Events]) -> Schedule:
    storage = np.concatenate([e[0] for e in events]).astype(np.int64)
    operation = np.concatenate([e[1] for e in events]).astype(np.int64)
    slot = np.concatenate([np.full(len(e[0]), e[2]) for e in events])
    number = np.where(storage < 0, ~storage, storage)
    order = np.lexsort((number, operation * _SLOTS + slot))
    return Schedule(storage[order], operation[order])


def steady_step(trace: StepTrace, accumulation: int) -> list[Schedule]:
    """The micro-batches of one step that can hold its peak: those after the third repeat the
    second."""
    if accumulation == 1:
        return [micro_batch(trace)]
    middle = [micro_batch(trace, first=False, last=False)] * (accumulation > 2)
    return [micro_batch(trace, last=False), *middle, micro_batch(trace, first=False)]


def first_step(trace: StepTrace, accumulation: int) -> list[Schedule]:
    """As ``steady_step``, making the optimizer's state in its last micro-batch."""
    return [
        *steady_step(trace, accumulation)[:-1],
        micro_batch(trace, first=accumulation == 1, makes_state=True),
    ]
