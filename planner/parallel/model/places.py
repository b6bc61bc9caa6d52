"""Where an operation stands in a decoder: in a block's attention or MLP, in the rest of a block, in
the embedding before the blocks, or in the norm, head and loss behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from planner.memory.lifetimes import WEIGHTS
from planner.trace.table import PHASES, StepTrace

FORWARD = PHASES.index("forward")
RECOMPUTE, BACKWARD = PHASES.index("recompute"), PHASES.index("backward")
OPTIMIZER = PHASES.index("optimizer")
#: Names of products with a weight; of attention.
PRODUCTS = (
    "aten.mm.",
    "aten.addmm.",
    "aten._scaled_mm.",
    "planner.scaled_mm.",
    "aten.bmm.",
    "aten.linear.",
)
ATTENTION = ("planner.attention.",)
EMBEDDING = "aten.embedding."
#: Products of routed experts.
GROUPED = "aten._grouped_mm."


@dataclass(frozen=True, eq=False)
class Places:
    """By module, as arrays of one truth each: ``block``: of a repeated block; ``region``: of the
    attention or the MLP of one; ``mixture``: of a block's part that has routed experts, which are
    whole on their device and no region; ``embedding``; ``norm``: a norm behind them. ``regions``:
    names of the regions; ``of_region``: module → number of its region, -1 of none.
    By operation: ``before`` and ``behind`` the blocks, what belongs to an end alone."""

    block: np.ndarray
    region: np.ndarray
    mixture: np.ndarray
    embedding: np.ndarray
    norm: np.ndarray
    regions: tuple[str, ...]
    of_region: np.ndarray
    before: np.ndarray
    behind: np.ndarray


def places_of(trace: StepTrace, blocks: Mapping[int, str]) -> Places:
    """``blocks``: module → name of its block."""
    count = len(trace.modules)
    block = np.zeros(count, dtype=bool)
    block[list(blocks)] = True
    named = np.array([s.op.startswith(PRODUCTS + ATTENTION) for s in trace.signatures])
    looked_up = np.array([s.op.startswith(EMBEDDING) for s in trace.signatures])
    embedding = np.zeros(count, dtype=bool)
    embedding[trace.op_module[looked_up[trace.op_signature]]] = True
    embedding &= ~block
    working = set(trace.op_module[named[trace.op_signature]].tolist()) | _with_matrices(trace)
    routed = np.array([s.op.startswith(GROUPED) for s in trace.signatures])
    spread = set(trace.op_module[routed[trace.op_signature]].tolist())
    mixtures = {_child(trace.modules[m], blocks[m]) for m in spread if m in blocks}
    found = {_child(trace.modules[m], blocks[m]) for m in working if m in blocks} - mixtures
    regions = tuple(sorted(name for name in found if name))
    number = {name: index for index, name in enumerate(regions)}
    of_region, mixture = np.full(count, -1), np.zeros(count, dtype=bool)
    for module, name in blocks.items():
        child = _child(trace.modules[module], name)
        of_region[module], mixture[module] = number.get(child, -1), child in mixtures
    weights = trace.storage_module[(trace.birth < 0) & (trace.category == WEIGHTS)]
    norm = np.zeros(count, dtype=bool)
    norm[weights] = True
    norm &= ~block & ~embedding
    norm[list(working)] = False
    before, behind = _ends(trace, block, embedding)
    ends = embedding, norm, regions, of_region, before, behind
    return Places(block, of_region >= 0, mixture, *ends)


def _with_matrices(trace: StepTrace) -> set[int]:
    """Modules that have a weight of two dimensions, whatever the name of its product."""
    one = trace.monomials.index("1")
    weights = np.flatnonzero((trace.birth < 0) & (trace.category == WEIGHTS))
    is_matrix = [
        sum(int(n) > 1 for n in trace.forms[list(trace.sizes[int(size)][0]), one]) > 1
        for size in trace.size[weights]
    ]
    return set(trace.storage_module[weights[np.array(is_matrix, dtype=bool)]].tolist())


def _child(path: str, block: str) -> str:
    """The part of a block that a module is in or is; nothing for the block itself."""
    rest = path[len(block) :].lstrip(".")
    return f"{block}.{rest.split('.')[0]}" if rest else ""


def _ends(
    trace: StepTrace, block: np.ndarray, embedding: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which operations only the first stage of a pipeline runs, and which only the last."""
    at, inside = np.arange(trace.op_count), block[trace.op_module]
    forward = trace.op_phase == FORWARD
    back = (trace.op_phase == BACKWARD) | (trace.op_phase == RECOMPUTE)
    before = embedding[trace.op_module] & (forward | back)
    behind = np.zeros(trace.op_count, dtype=bool)
    for phase, is_behind in ((forward, True), (back, False)):
        mine = np.flatnonzero(phase & inside)
        if not mine.size:
            continue
        first, last = int(mine[0]), int(mine[-1])
        if is_behind:
            behind |= phase & (at > last)
        else:
            behind |= phase & (at < first) & ~before
            before |= phase & (at > last)
    return before, behind


def unplaced(trace: StepTrace, places: Places) -> bool:
    """Whether a block's product stands outside its attention and MLP: a step whose operations name
    no modules, as a compiled one."""
    product = np.array([s.op.startswith(PRODUCTS) for s in trace.signatures])
    aside = places.block & ~places.region & ~places.mixture
    return not places.regions or bool((product[trace.op_signature] & aside[trace.op_module]).any())
