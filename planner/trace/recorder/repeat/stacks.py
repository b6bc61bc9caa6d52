"""The stacks of a model and what repeats in them: ``[A]*32``, ``[A, B]*16``, ``([A]*5 + [B])*8``,
``[A]*3 + [B]*58``.

A run is a row of equal units; a unit is one block, or several that differ. Of a run with more units
than are recorded the others are taken out, in place, and put back afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from planner.trace.recorder.repeat.fingerprint import fingerprints, shared_parts

#: Runs of more units than this are cut.
SHORT = 4
#: Units that are ever recorded.
MOST = 6


@dataclass(frozen=True)
class Run:
    """Blocks ``first`` to ``first + period · units`` of a stack."""

    first: int
    period: int
    units: int

    def unit(self, number: int) -> range:
        start = self.first + number * self.period
        return range(start, start + self.period)


@dataclass
class Stack:
    """A ModuleList or Sequential with runs to cut, and the lists that have an entry a block.
    ``inner``: it lies in a block of another."""

    module: torch.nn.Module
    runs: list[Run]
    lists: list[tuple[Any, str]]
    inner: bool = False
    names: list[str] = field(init=False)
    blocks: list[torch.nn.Module] = field(init=False)
    _values: list[Any] = field(init=False)

    def __post_init__(self) -> None:
        self.names = list(self.module._modules)
        self.blocks = list(self.module._modules.values())  # type: ignore[arg-type]
        self._values = [_get(owner, name) for owner, name in self.lists]

    def kept(self, units: int) -> list[int]:
        """Positions of the blocks that stay when runs keep so many units, their first."""
        gone = {
            position
            for run in self.runs
            for position in range(
                run.first + min(units, run.units) * run.period, run.first + run.units * run.period
            )
        }
        return [position for position in range(len(self.blocks)) if position not in gone]

    def cut(self, units: int) -> None:
        kept = self.kept(units)
        numbered = self.names == [str(i) for i in range(len(self.names))]
        names = [str(i) for i in range(len(kept))] if numbered else [self.names[i] for i in kept]
        self._put(dict(zip(names, (self.blocks[i] for i in kept))))
        for (owner, name), values in zip(self.lists, self._values):
            _set(owner, name, type(values)(values[i] for i in kept))

    def restore(self) -> None:
        self._put(dict(zip(self.names, self.blocks)))
        for (owner, name), values in zip(self.lists, self._values):
            _set(owner, name, values)

    def _put(self, blocks: dict[str, torch.nn.Module]) -> None:
        self.module._modules.clear()
        self.module._modules.update(blocks)


def find_stacks(roots: list[torch.nn.Module]) -> list[Stack]:
    """The stacks to cut, the inner before the outer: of an outer one only the blocks that stay are
    looked into."""
    shared, configs = shared_parts(roots), list(_configs(roots))
    found: list[Stack] = []
    seen: set[int] = set()
    for root in roots:
        found += _within(root, "", shared, configs, seen)
    return found


def _within(
    root: Any, name: str, shared: set[int], configs: list[Any], seen: set[int]
) -> Iterator[Stack]:
    if id(root) in seen:
        return
    seen.add(id(root))
    children = [(key, child) for key, child in root._modules.items() if child is not None]
    stack = _stack(root, name, shared, configs) if _may_repeat(root) else None
    inside = children if stack is None else [children[i] for i in stack.kept(MOST)]
    for key, child in inside:
        for found in _within(child, key, shared, configs, seen):
            found.inner = found.inner or stack is not None
            yield found
    if stack is not None:
        yield stack


def _may_repeat(root: Any) -> bool:
    blocks = list(root._modules.values())
    return (
        isinstance(root, (torch.nn.ModuleList, torch.nn.Sequential))
        and len(blocks) > SHORT
        and None not in blocks
        and len({id(block) for block in blocks}) == len(blocks)
    )


def _stack(root: Any, name: str, shared: set[int], configs: list[Any]) -> Stack | None:
    """Of a module that is called ``name`` by the one that holds it."""
    blocks = {f"{name}.{key}": block for key, block in root._modules.items()}
    lists = _lists(len(blocks), configs)
    values = [list(_get(owner, attribute)) for owner, attribute in lists]
    runs = find_runs(fingerprints(blocks, values, shared))
    return Stack(root, runs, lists) if runs else None


def find_runs(blocks: list) -> list[Run]:
    """Rows of more than ``SHORT`` equal units, from the first block on; at each place the period
    that takes out most."""
    numbers: dict[Any, int] = {}
    marks = [numbers.setdefault(block, len(numbers)) for block in blocks]
    found, at = [], 0
    while at < len(marks):
        runs = [_run(marks, at, period) for period in range(1, (len(marks) - at) // SHORT + 1)]
        best = max(
            (run for run in runs if run.units > SHORT),
            key=lambda run: ((run.units - SHORT) * run.period, -run.period),
            default=None,
        )
        if best is None:
            at += 1
        else:
            found.append(best)
            at = best.first + best.period * best.units
    return found


def _run(marks: list[int], first: int, period: int) -> Run:
    unit, units = marks[first : first + period], 1
    while marks[first + units * period : first + (units + 1) * period] == unit:
        units += 1
    return Run(first, period, units)


def _configs(roots: Iterable[torch.nn.Module]) -> Iterator[Any]:
    """Configuration objects of a model's parts, and those inside of them, each once."""
    seen: set[int] = set()
    waiting = [
        part.__dict__["config"]
        for root in roots
        for part in root.modules()
        if hasattr(part.__dict__.get("config"), "__dict__")
    ]
    while waiting:
        config = waiting.pop()
        if id(config) not in seen:
            seen.add(id(config))
            yield config
            waiting += [v for v in vars(config).values() if hasattr(v, "to_dict")]


def _lists(length: int, configs: list[Any]) -> list[tuple[Any, str]]:
    """(object, attribute) of every list in a configuration that has so many entries."""
    return [
        (config, name)
        for config in configs
        for name, value in vars(config).items()
        if type(value) in (list, tuple) and len(value) == length
    ]


def _get(owner: Any, name: str) -> Any:
    return vars(owner)[name]


def _set(owner: Any, name: str, value: Any) -> None:
    vars(owner)[name] = value
