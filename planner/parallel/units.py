"""What sharded training gathers together: each of a trace's repeated blocks, and the rest as the
root (FSDP2's ``fully_shard`` of every block and of the model around them); and when a step uses it.

Blocks are read off the modules' paths: those that have a number and a neighbour with another one
(``model.layers.3``). A gradient is the one of the weight with as many numbers that is as late in
the model as the gradient is early in the backward pass.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np

from planner.memory.lifetimes import GRADIENTS, WEIGHTS, first_optimizer_operation
from planner.parallel.model.experts import is_of_experts
from planner.trace.table import PHASES, StepTrace

_NUMBERED = re.compile(r"^(.*?)(\d+)(?=\.|$)")
_FORWARD = [PHASES.index(name) for name in ("forward", "teacher")]
_BACKWARD = [PHASES.index(name) for name in ("recompute", "backward")]


@dataclass(frozen=True)
class Unit:
    """``weights``: storages of parameters; ``gradients``: storage of a gradient → that of its
    weight. ``forward``, ``backward``: first operation and the one past the last, None where that
    pass runs nothing of it. The root's are the whole passes. ``of_experts``: what only some of the
    devices hold, where devices have other experts: gathered beside the rest of its block, as
    torchtitan does it."""

    name: str
    weights: tuple[int, ...]
    gradients: dict[int, int]
    forward: tuple[int, int] | None
    backward: tuple[int, int] | None
    of_experts: bool = False


@dataclass(frozen=True)
class Units:
    """``blocks`` in the order of the forward pass; ``backward`` of those that the backward pass
    goes through, in its order."""

    root: Unit
    blocks: tuple[Unit, ...]
    backward: tuple[Unit, ...]


def units_of(trace: StepTrace) -> Units:
    """Kept with the trace."""
    return trace.memo.of("units", None, lambda: _units(trace))


def block_names(modules: tuple[str, ...]) -> dict[int, str]:
    """Module → the repeated block that it belongs to, of those that belong to one."""
    found = {}
    numbers: dict[str, set[str]] = defaultdict(set)
    for index, path in enumerate(modules):
        match = _NUMBERED.match(path)
        if match:
            found[index] = match[0]
            numbers[match[1]].add(match[2])
    repeated = {stem + number for stem, seen in numbers.items() if len(seen) > 1 for number in seen}
    return {index: name for index, name in found.items() if name in repeated}


def numbers_of(trace: StepTrace, size: int) -> int:
    """Elements of a size that no symbol changes; -1 where one does."""
    shape, _ = trace.sizes[size]
    forms = trace.forms[list(shape)] if shape else np.zeros((0, trace.forms.shape[1]), np.int64)
    one = trace.monomials.index("1") if "1" in trace.monomials else None
    if one is None:
        return 1 if not shape else -1
    if np.delete(forms, one, axis=1).any():
        return -1
    return int(np.prod(forms[:, one], dtype=np.int64)) if shape else 1


def _units(trace: StepTrace) -> Units:
    blocks = block_names(trace.modules)
    names = list(dict.fromkeys(blocks.values()))
    number = {name: index for index, name in enumerate(names)}
    of_module = np.full(max(1, len(trace.modules)), -1)
    for module, name in blocks.items():
        of_module[module] = number[name]
    weights = np.flatnonzero((trace.birth < 0) & (trace.category == WEIGHTS))
    owner = of_module[trace.storage_module[weights]]
    pairs = gradients_of(trace, weights)
    by_weight = {int(w): int(o) for w, o in zip(weights, owner, strict=True)}
    forward = _windows(trace, of_module, _FORWARD, len(names))
    backward = _windows(trace, of_module, _BACKWARD, len(names))
    made = {}
    for name, index in number.items():
        own = {g: w for g, w in pairs.items() if by_weight[w] == index}
        held = tuple(int(w) for w in weights[owner == index])
        last = _through(backward.get(index), [int(trace.birth[g]) for g in own])
        if held:
            made[name] = Unit(name, held, own, forward.get(index), last)
    of_blocks = {weight for unit in made.values() for weight in unit.weights}
    root = Unit(
        "",
        tuple(int(w) for w in weights if int(w) not in of_blocks),
        {g: w for g, w in pairs.items() if w not in of_blocks},
        _span(trace, _FORWARD),
        _span(trace, _BACKWARD),
    )
    root, *of_root = _parted(trace, root)
    every = [*of_root, *(part for unit in made.values() for part in _parted(trace, unit))]
    ordered = sorted(every, key=lambda unit: unit.forward or (trace.op_count, 0))
    back = [unit for unit in ordered if unit.backward is not None]
    back.sort(key=lambda unit: unit.backward or (0, 0))
    return Units(root, tuple(ordered), tuple(back))


def _parted(trace: StepTrace, unit: Unit) -> list[Unit]:
    """A unit, and its experts apart where devices have others."""
    mine = {w for w in unit.weights if is_of_experts(trace, trace.sizes[int(trace.size[w])][0])}
    if not mine:
        return [unit]

    def part(of_experts: bool) -> Unit:
        weights = tuple(w for w in unit.weights if (w in mine) == of_experts)
        gradients = {g: w for g, w in unit.gradients.items() if (w in mine) == of_experts}
        return replace(unit, weights=weights, gradients=gradients, of_experts=of_experts)

    return [part(False), part(True)]


def _through(window: tuple[int, int] | None, births: list[int]) -> tuple[int, int] | None:
    """With the gradients that an operation of a neighbour makes: autograd runs the first operation
    of a block's backward pass under the name of the module that asked for it."""
    if not births:
        return window
    first, last = window or (min(births), 0)
    return first, max(last, max(births) + 1)


def _span(trace: StepTrace, phases: list[int]) -> tuple[int, int] | None:
    at = np.flatnonzero(np.isin(trace.op_phase, phases))
    return (int(at[0]), int(at[-1]) + 1) if at.size else None


def _windows(
    trace: StepTrace, of_module: np.ndarray, phases: list[int], count: int
) -> dict[int, tuple[int, int]]:
    at = np.flatnonzero(np.isin(trace.op_phase, phases))
    owner = of_module[trace.op_module[at]]
    first = np.full(count + 1, trace.op_count)
    last = np.full(count + 1, -1)
    np.minimum.at(first, owner, at)  # those of no block lie in the last place
    np.maximum.at(last, owner, at)
    return {
        index: (int(first[index]), int(last[index]) + 1)
        for index in range(count)
        if last[index] >= 0
    }


def gradients_of(trace: StepTrace, weights: np.ndarray) -> dict[int, int]:
    """Storage of each gradient that waits for the optimizer → that of its weight."""
    until = first_optimizer_operation(trace)
    is_one = (trace.category == GRADIENTS) & (trace.birth >= 0) & (trace.death >= until)
    gradients = np.flatnonzero(is_one)
    gradients = gradients[np.argsort(trace.birth[gradients], kind="stable")]
    by_numbers: dict[int, list[int]] = defaultdict(list)
    for weight in weights.tolist():
        by_numbers[numbers_of(trace, int(trace.size[weight]))].append(weight)
    asked: dict[int, list[int]] = defaultdict(list)
    for gradient in gradients.tolist():
        asked[numbers_of(trace, int(trace.size[gradient]))].append(gradient)
    found: dict[int, int] = {}
    for numbers, mine in asked.items():
        found |= _paired(trace, mine, by_numbers.get(numbers, []))
    return found


def _paired(trace: StepTrace, gradients: list[int], weights: list[int]) -> dict[int, int]:
    """The latest weight with the earliest gradient; where some of the weights are frozen, first
    those whose module the gradient names."""
    if len(gradients) == len(weights):
        return dict(zip(gradients, reversed(weights), strict=True))
    left, found, without = list(reversed(weights)), {}, []
    for gradient in gradients:
        module = trace.storage_module[gradient]
        own = next((w for w in left if trace.storage_module[w] == module), None)
        if own is None:
            without.append(gradient)
            continue
        left.remove(own)
        found[gradient] = own
    return found | dict(zip(without, left, strict=False))
