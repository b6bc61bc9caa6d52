"""One stage of a pipeline as a rewrite of the step of a model with the stage's layers: without the
embedding, or without norm, head and loss, or without both; and with the activations of the
micro-batches that are on their way behind it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.memory.lifetimes import (
    ACTIVATIONS,
    GRADIENTS,
    OPTIMIZER,
    WEIGHTS,
    first_optimizer_operation,
)
from planner.parallel.model.places import Places
from planner.parallel.model.sequence import activations_of
from planner.trace.table import PHASES, Signature, StepTrace

FIRST, MIDDLE, LAST = "first", "middle", "last"
#: The name of a trace's attribute that holds the other stages' traces: middle (where there are
#: more than two stages) and last.
STAGES = "stages"


def cut_to(trace: StepTrace, places: Places, stage: str) -> StepTrace:
    """A stage's own part. Tied embeddings are kept on both ends. An operation that is left out
    takes its storages along; what comes from another stage, or goes there, is held by the buffer
    that it is received in."""
    gone = np.zeros(trace.op_count, dtype=bool)
    if stage != FIRST:
        gone |= places.before
    if stage != LAST:
        gone |= places.behind
    ends = _Ends(trace, places)
    dropped = ends.dropped(stage)
    stop = first_optimizer_operation(trace)
    signature = _update(trace, stop, gone, ends, stage)
    after = np.concatenate([[0], np.cumsum(~gone)])
    count = int(after[-1])
    birth = np.where(trace.birth < 0, -1, after[np.maximum(trace.birth, 0)])
    inside = trace.death < trace.op_count
    last = np.minimum(trace.death, trace.op_count - 1)
    death = np.where(inside, after[last] - gone[last], count)
    born_away = (trace.birth >= 0) & gone[np.maximum(trace.birth, 0)]
    lasting = trace.death >= stop
    lost = born_away & (~lasting | (trace.category != GRADIENTS)) & (death < birth)
    wide = np.array([ends.wide(shape) for shape, _ in trace.sizes], dtype=bool)[trace.size]
    lost |= born_away & (trace.category == GRADIENTS) & ~wide
    keep = ~(lost | dropped)
    made = replace(
        trace,
        signatures=signature[0],
        op_signature=signature[1][~gone].astype(np.int32),
        op_phase=trace.op_phase[~gone],
        op_module=trace.op_module[~gone],
        size=trace.size[keep],
        birth=np.minimum(birth, count - 1)[keep].astype(trace.birth.dtype),
        death=np.maximum(death, np.minimum(birth, count - 1))[keep].astype(trace.death.dtype),
        category=trace.category[keep],
        storage_module=trace.storage_module[keep],
    )
    return replace(made, meta={**trace.meta, "gradient_bytes": _gradient_bytes(made)})


def in_flight(trace: StepTrace, micro_batches: int) -> StepTrace:
    """With the activations of so many micro-batches there together."""
    saved = np.repeat(activations_of(trace), max(0, micro_batches - 1))
    last = max(0, first_optimizer_operation(trace) - 1)

    def more(values: np.ndarray, added: np.ndarray) -> np.ndarray:
        return np.append(values, added).astype(values.dtype)

    return replace(
        trace,
        size=more(trace.size, trace.size[saved]),
        birth=more(trace.birth, np.zeros(len(saved), int)),
        death=more(trace.death, np.full(len(saved), last)),
        category=more(trace.category, np.full(len(saved), ACTIVATIONS)),
        storage_module=more(trace.storage_module, trace.storage_module[saved]),
    )


class _Ends:
    """Whose the weights, gradients and states of the two ends are: by their modules, states by
    their order among those of the same size."""

    def __init__(self, trace: StepTrace, places: Places) -> None:
        self.trace = trace
        block = places.block[trace.storage_module]
        there = (trace.birth < 0) & (trace.category == WEIGHTS) & ~block
        at_embedding = places.embedding[trace.storage_module]
        self.first = np.flatnonzero(there & at_embedding)
        working = set(trace.op_module[places.behind].tolist())
        behind = np.array([m in working for m in trace.storage_module.tolist()], dtype=bool)
        self.last = np.flatnonzero(there & ~at_embedding & behind)
        shapes = {self._key(s) for s in self.last.tolist()}
        self.shared = {self._key(s) for s in self.first.tolist()} & shapes
        #: Sizes that an end alone has, and whether both have them.
        self.of_first = {self._key(s) for s in self.first.tolist()}
        self.is_tied = not self.shared

    def _key(self, storage: int) -> tuple[int, ...]:
        return self.trace.sizes[int(self.trace.size[storage])][0]

    def wide(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor has the embedding's shape."""
        return shape in self.of_first

    def dropped(self, stage: str) -> np.ndarray:
        """Storages that a stage has not."""
        trace, found = self.trace, np.zeros(len(self.trace.birth), dtype=bool)
        if stage != FIRST and not (stage == LAST and self.is_tied):
            found[self.first] = True
        if stage != LAST:
            found[self.last] = True
        stop = first_optimizer_operation(trace)
        lasting = (trace.birth < 0) | (trace.death >= stop)
        for category in (GRADIENTS, OPTIMIZER):
            mine = np.flatnonzero((trace.category == category) & lasting)
            self._halve([s for s in mine.tolist() if self.wide(self._key(s))], stage, found)
        moment = np.flatnonzero((trace.birth >= stop) & (trace.category != GRADIENTS))
        self._halve([s for s in moment.tolist() if self.wide(self._key(s))], stage, found)
        return found

    def _halve(self, storages: list[int], stage: str, found: np.ndarray) -> None:
        """An end has one of both, or what is tied; a stage between them none. Of gradients the
        head's are made first."""
        born, half = sorted(storages, key=lambda s: int(self.trace.birth[s])), len(storages) // 2
        if stage == MIDDLE:
            found[storages] = True
        elif not self.is_tied:
            found[born[half:] if stage == LAST else born[:half]] = True

    def left(self, count: int, stage: str) -> int:
        """Of so many tensors of the embedding's shape in one list, how many a stage has."""
        return 0 if stage == MIDDLE else count if self.is_tied else -(-count // 2)


def _update(
    trace: StepTrace, stop: int, gone: np.ndarray, ends: _Ends, stage: str
) -> tuple[tuple[Signature, ...], np.ndarray]:
    """Signatures with the update of the stage's own tensors; single updates of others are marked
    in ``gone``."""
    signatures, op_signature = list(trace.signatures), trace.op_signature.copy()
    update = (np.arange(trace.op_count) >= stop) & (trace.op_phase == PHASES.index("optimizer"))
    for old in dict.fromkeys(trace.op_signature[update].tolist()):
        one, mine = signatures[old], np.flatnonzero(update & (trace.op_signature == old))
        wide = [o for o in one.inputs if ends.wide(o.shape)]
        if not wide:
            continue
        if "_foreach" not in one.op and "fused" not in one.op:
            gone[mine[ends.left(len(mine), stage) :]] = True
            continue

        def kept(operands: tuple, stage: str = stage) -> tuple:
            counted = (
                replace(o, count=ends.left(o.count, stage)) if ends.wide(o.shape) else o
                for o in operands
            )
            return tuple(o for o in counted if o.count)

        made = replace(one, inputs=kept(one.inputs), outputs=kept(one.outputs))
        op_signature[mine] = len(signatures)
        signatures.append(made)
    return tuple(signatures), op_signature


def _gradient_bytes(trace: StepTrace) -> int:
    """Of the gradients that wait for the optimizer."""
    stop = first_optimizer_operation(trace)
    held = (trace.category == GRADIENTS) & (trace.death >= stop)
    one = trace.monomials.index("1")
    rows = np.zeros((len(trace.forms), 1), dtype=np.int64)
    rows[:, 0] = trace.forms[:, one]
    return int(trace.storage_bytes(rows)[trace.size[held], 0].sum())
