"""Where the seconds of a step go: by module, kind of operation and phase."""

from __future__ import annotations

from typing import Any

import numpy as np

from planner.explain.clocked import Clocked
from planner.explain.tree import Node, tree_of
from planner.trace.table import PHASES

#: Names of what no module runs.
UPDATE, OUTSIDE = "optimizer step", "loss and what runs outside modules"
_WAITING, _FLOPS, _MOVED, _FIRST_PHASE = range(4)
_FIRST_KIND = _FIRST_PHASE + len(PHASES)


def step_times(step: Clocked) -> dict[str, Any]:
    """The part ``time`` of the document."""
    kinds = tuple(dict.fromkeys(step.done.kinds))
    rows = _operations(step, kinds)
    owned = np.array([bool(name) for name in step.trace.modules])[step.trace.op_module]
    modules = {
        name: rows[step.trace.op_module == index].sum(axis=0)
        for index, name in enumerate(step.trace.modules)
        if name
    }
    tops = tree_of(modules, rows.shape[1])
    for name, mine in ((UPDATE, ~owned & step.is_update), (OUTSIDE, ~owned & ~step.is_update)):
        if mine.any():
            tops.append(Node(name, "", rows[mine].sum(axis=0)))
    whole = step.seconds * step.factor
    tree = [_document(node, kinds, whole) for node in tops]
    total = rows.sum(axis=0)
    return {
        "seconds": whole,
        "waiting_seconds": float(total[_WAITING]),
        "exchange_seconds": step.exchange_seconds * step.factor,
        "by_phase": _phases(total),
        "by_kind": _kinds(total, kinds),
        "tree": sorted(tree, key=lambda node: -node["seconds"]),
    }


def _operations(step: Clocked, kinds: tuple[str, ...]) -> np.ndarray:
    """Amounts of every operation over the whole step: [n_ops, waiting, FLOPs, bytes, seconds by
    phase, seconds by kind]."""
    trace, times = step.trace, step.times
    seconds = step.spans * times * step.factor
    # where one operation's end hides in another's the span is what counts
    busy = np.minimum(step.busy, step.spans) * times * step.factor
    rows = np.zeros((trace.op_count, _FIRST_KIND + len(kinds)))
    each = np.arange(trace.op_count)
    place = np.array([kinds.index(kind) for kind in step.done.kinds])[trace.op_signature]
    rows[:, _WAITING] = seconds - busy
    rows[:, _FLOPS] = step.done.flops[:, 0][trace.op_signature] * times
    rows[:, _MOVED] = step.done.bytes[:, 0][trace.op_signature] * times
    rows[each, _FIRST_PHASE + trace.op_phase] = seconds
    rows[each, _FIRST_KIND + place] += busy
    return rows


def _document(node: Node, kinds: tuple[str, ...], whole: float) -> dict[str, Any]:
    total = node.total
    phases = _phases(total)
    seconds = sum(phases.values())
    children = [_document(child, kinds, whole) for child in node.children]
    return {
        "name": node.name,
        "path": node.path,
        "count": node.count,
        "seconds": seconds,
        "share": seconds / whole if whole else 0.0,
        "waiting_seconds": float(total[_WAITING]),
        "by_phase": phases,
        "by_kind": _kinds(total, kinds),
        "flops": float(total[_FLOPS]),
        "moved_bytes": float(total[_MOVED]),
        "children": sorted(children, key=lambda child: -child["seconds"]),
    }


def _phases(total: np.ndarray) -> dict[str, float]:
    found = dict(zip(PHASES, total[_FIRST_PHASE:_FIRST_KIND].tolist()))
    return {name: seconds for name, seconds in found.items() if seconds > 0}


def _kinds(total: np.ndarray, kinds: tuple[str, ...]) -> dict[str, float]:
    """The longest first; kinds that compute nothing are left out."""
    found = zip(kinds, total[_FIRST_KIND:].tolist())
    return dict(sorted(((k, s) for k, s in found if s > 0), key=lambda pair: -pair[1]))
