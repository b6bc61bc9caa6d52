"""A step's device seconds by module, ours beside the recorded ones.

Recorded modules are known by class and number, ours by their paths. Which is which follows from
the order of operations: the module of ours that most of a recorded module's matched operations
belong to.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import numpy as np

from planner.calibrate.kineto.modules import Chain, Modules
from planner.calibrate.kineto.order import OwnStep, matched
from planner.calibrate.kineto.recorded import Recorded
from planner.calibrate.kineto.units import Unit
from planner.compare.times import busy_of, pair
from planner.explain.clocked import Clocked
from planner.explain.times import OUTSIDE, UPDATE
from planner.explain.tree import Node, tree_of

#: Without recorded modules the order alone tells, where it matches this share of the time.
LEAST_MATCHED = 0.9
BY_EVENTS, BY_ORDER = "recorded modules", "order of operations"


def by_module(step: Clocked, own: OwnStep, seen: Recorded) -> dict[str, Any]:
    """``told_by``: how operations were given to modules, None where nothing tells (``tree`` is
    empty then); ``matched_share``: of the recorded time, what stands in our trace's order too."""
    found = _matches(own, seen)
    whole = sum(unit.seconds for _, unit in seen.units)
    share = sum(unit.seconds for _, unit in seen.units if id(unit) in found) / whole if whole else 0
    modules = Modules(seen)
    if not modules.any and share < LEAST_MATCHED:
        return {"told_by": None, "matched_share": share, "tree": []}
    theirs = _recorded(own, seen, found, modules)
    ours = _predicted(step)
    tops = tree_of(
        {
            name: np.array([ours.get(name, 0.0), theirs.get(name, 0.0)])
            for name in dict.fromkeys([*ours, *theirs])
            if name not in (UPDATE, OUTSIDE)
        },
        2,
    )
    for name in (UPDATE, OUTSIDE):
        amounts = np.array([ours.get(name, 0.0), theirs.get(name, 0.0)])
        tops += [Node(name, "", amounts)] if amounts.any() else []
    return {
        "told_by": BY_EVENTS if modules.any else BY_ORDER,
        "matched_share": share,
        "tree": _sorted([_document(node) for node in tops]),
    }


def _matches(own: OwnStep, seen: Recorded) -> dict[int, int]:
    """Identity of a recorded operation → the operation of our trace."""
    steps: dict[int, list[Unit]] = defaultdict(list)
    for place, unit in seen.units:
        steps[place].append(unit)
    return {
        id(units[index]): ours
        for units in steps.values()
        for index, ours in matched(units, own).items()
    }


def _predicted(step: Clocked) -> dict[str, float]:
    busy, found = busy_of(step), defaultdict[str, float](float)
    for seconds, module, is_update in zip(
        busy.tolist(), step.trace.op_module.tolist(), step.is_update.tolist()
    ):
        found[step.trace.modules[module] or (UPDATE if is_update else OUTSIDE)] += seconds
    return dict(found)


def _recorded(
    own: OwnStep, seen: Recorded, found: dict[int, int], modules: Modules
) -> dict[str, float]:
    """Our path of each operation's module → seconds of a step on average."""
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    chains = {id(unit): modules.of(unit) for _, unit in seen.units}
    for _, unit in seen.units:
        if unit.phase == "forward" and id(unit) in found and chains[id(unit)]:
            votes[chains[id(unit)][-1]][_path(own, found[id(unit)])] += 1
    paths = {name: counted.most_common(1)[0][0] for name, counted in votes.items()}
    sums: dict[str, float] = defaultdict(float)
    for _, unit in seen.units:
        name = _name(unit, chains[id(unit)], paths)
        if name is None and id(unit) in found:
            name = _path(own, found[id(unit)])
        other = UPDATE if unit.phase == "optimizer" else OUTSIDE
        sums[name or other] += unit.seconds / len(seen.steps)
    return dict(sums)


def _name(unit: Unit, chain: Chain, paths: dict[str, str]) -> str | None:
    """Of the innermost module that a path of ours is known of."""
    if unit.phase == "optimizer":
        return UPDATE
    return next((paths[name] for name in chain[::-1] if paths.get(name)), None)


def _path(own: OwnStep, place: int) -> str:
    return own.trace.modules[int(own.trace.op_module[place])]


def _document(node: Node) -> dict[str, Any]:
    predicted, recorded = (float(value) for value in node.total)
    return {
        "name": node.name,
        "path": node.path,
        "count": node.count,
        **pair(predicted, recorded),
        "children": _sorted([_document(child) for child in node.children]),
    }


def _sorted(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(nodes, key=lambda node: -max(node["predicted"], node["recorded"]))
