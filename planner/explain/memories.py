"""What is alive at the peak, by module and category, and live bytes through the step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from planner.explain.clocked import Clocked
from planner.explain.tree import Node, tree_of
from planner.memory.history import History, history
from planner.memory.lifetimes import GRADIENTS, OPTIMIZER, TEMPORARY
from planner.memory.runtime import runtime_memory
from planner.parallel.data_parallel import bucket_bytes
from planner.plan.options import Option
from planner.trace.table import CATEGORIES, PHASES, StepTrace

#: Names of what no module holds.
WORKSPACE, STATE = "workspaces of the matrix library", "optimizer state"
OUTSIDE, BUCKETS = "batch, loss and what is made outside modules", "gradient buckets"
#: What a device holds beside live tensors, as the answer's breakdown names it.
BESIDE = {
    "fragmentation": "held and not used (fragmentation)",
    "context": "what the runtime takes (context)",
}
PARTS = (*CATEGORIES, *BESIDE)
#: Points of a timeline: more than a screen is wide.
POINTS = 400


def memory_at_peak(option: Option, longest: Clocked) -> dict[str, Any]:
    """The part ``memory`` of the document; ``longest``: the step of the heaviest stage at its
    longest batch."""
    memory, heaviest = option.setting.proven_memory, option.placement.heaviest
    trace = longest.trace
    seen = history(
        trace,
        {"B": heaviest.micro_batch, **heaviest.longest},
        accumulation=heaviest.accumulation,
        workspace=runtime_memory(option.rented.spec).workspace,
    )
    buckets = bucket_bytes(trace.meta.get("gradient_bytes", 0), option.rented.parallel.copies)
    live = float(seen.moment.allocated_bytes + buckets)
    scale = memory.allocated_bytes.p50 / live if live else 1.0
    tops = [*_alive(trace, seen, buckets, scale), *_beside(memory.breakdown)]
    whole = memory.device_used_bytes.p50
    return {
        "device_used_bytes": memory.device_used_bytes.as_dict(),
        "device_total_bytes": memory.device_total_bytes,
        "by_category": dict(memory.breakdown),
        "peak": {
            "phase": memory.peak.phase,
            "operation": memory.peak.operation,
            "module": memory.peak.module,
        },
        "tree": sorted((_document(node, whole) for node in tops), key=lambda node: -node["bytes"]),
        "timeline": timeline(seen, longest, scale, buckets)
        | {"reserved_bytes": memory.reserved_bytes.p50},
    }


def _alive(trace: StepTrace, seen: History, buckets: float, scale: float) -> list[Node]:
    """Tops of the tree of live tensors: modules, then what none holds."""
    storage, size = seen.storage, seen.moment.block_bytes * scale
    known = np.maximum(storage, 0)
    category = np.where(storage < 0, TEMPORARY, trace.category[known])
    module = np.where(storage < 0, -1, trace.storage_module[known])
    named = {name: np.zeros(len(PARTS)) for name in (STATE, OUTSIDE, WORKSPACE)}
    modules = {name: np.zeros(len(PARTS)) for name in trace.modules if name}
    for at, part, held in zip(module.tolist(), category.tolist(), size.tolist()):
        if at < 0:
            place = named[WORKSPACE]
        elif part == OPTIMIZER:
            place = named[STATE]
        else:
            name = trace.modules[at]
            place = modules[name] if name else named[OUTSIDE]
        place[part] += held
    if buckets:
        named[BUCKETS] = np.zeros(len(PARTS))
        named[BUCKETS][GRADIENTS] = buckets * scale
    beside = [Node(name, "", amount) for name, amount in named.items() if amount.any()]
    return [*tree_of(modules, len(PARTS)), *beside]


def _beside(breakdown: Mapping[str, float]) -> list[Node]:
    found: list[Node] = []
    for name, text in BESIDE.items():
        own = np.zeros(len(PARTS))
        own[PARTS.index(name)] = breakdown[name]
        if own.any():
            found.append(Node(text, "", own))
    return found


def _document(node: Node, whole: float) -> dict[str, Any]:
    total = node.total
    held = {name: value for name, value in zip(PARTS, total.tolist()) if value}
    children = [_document(child, whole) for child in node.children]
    size = sum(held.values())
    return {
        "name": node.name,
        "path": node.path,
        "count": node.count,
        "bytes": size,
        "share": size / whole if whole else 0.0,
        "by_category": held,
        "children": sorted(children, key=lambda child: -child["bytes"]),
    }


# ---- through the step


def timeline(seen: History, step: Clocked, scale: float, buckets: float) -> dict[str, Any]:
    """Live bytes at the fullest moment of each of ``POINTS`` intervals; ``buckets``: a copy of the
    gradients that lives as long as the run."""
    accumulation = step.accumulation
    shown = int(seen.micro_batch.max(initial=0)) + 1
    skipped = max(0, accumulation - shown)
    at = moments(seen, step)
    # what is left out lies before the last micro-batch
    at = np.where(
        (seen.micro_batch == shown - 1) & (shown > 1), at - skipped * step.micro_seconds, at
    )
    levels, totals = seen.level_bytes.astype(float), seen.levels
    levels[:, GRADIENTS] += buckets
    phase = step.trace.op_phase[np.clip(seen.operation, 0, step.trace.op_count - 1)]
    kept = _fullest(at, totals, float(at.max(initial=0.0)))
    return {
        "is_first_step": seen.is_first,
        "step_seconds": step.seconds,
        "skipped_micro_batches": skipped,
        "seconds": at[kept].tolist(),
        "bytes": {
            name: (levels[kept, index] * scale).tolist() for index, name in enumerate(CATEGORIES)
        },
        "phases": [PHASES[index] for index in phase[kept].tolist()],
    }


def moments(seen: History, step: Clocked) -> np.ndarray:
    """When each event happens on the device's clock, seconds from the step's begin: as its
    operation begins where a block is taken, as it ends where one is freed."""
    last, count = int(seen.micro_batch.max(initial=0)), step.trace.op_count
    place = np.where(seen.micro_batch == last, step.accumulation - 1, seen.micro_batch)
    operation = np.clip(seen.operation, 0, count - 1)
    when = np.where(seen.block_bytes < 0, step.end[operation], step.start[operation])
    when = np.where(seen.operation < 0, 0.0, when)
    when = np.where(seen.operation >= count, step.end[-1] if count else 0.0, when)
    # an operation that computes nothing may stand a hair before the one that ended last
    return np.maximum.accumulate(np.maximum(when, 0.0) + place * step.micro_seconds)


def _fullest(at: np.ndarray, totals: np.ndarray, end: float) -> np.ndarray:
    """Of each interval the fullest moment: ascending indices."""
    if not len(at):
        return np.zeros(0, dtype=int)
    interval = np.minimum((at / end * POINTS).astype(int), POINTS - 1) if end else at.astype(int)
    order = np.lexsort((totals, interval))
    last = np.append(np.diff(interval[order]) > 0, True)
    return np.sort(order[last])
