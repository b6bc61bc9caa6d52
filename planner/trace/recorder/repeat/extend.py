"""A recording of the first units of a run becomes one of all of them.

An operation belongs to the unit in whose module it runs; what runs between two units belongs to
the one before. The interval of the middle unit, in each pass through the run (up in a forward pass,
down in a backward pass, recomputation inside), is repeated. A tensor that is born there is born in
every copy; it dies in its own unit or in a neighbour's at the same place, or where it died before
if that lies elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from planner.trace.recorder.repeat.flat import BIRTH, DEATH, MODULE, OWNER, PHASE, Flat
from planner.trace.table import PHASES

_BACKWARD = [PHASES.index(name) for name in ("recompute", "backward")]


class IrregularError(Exception):
    """The recorded units do not run one after another."""


@dataclass(frozen=True)
class Repetition:
    """A run's blocks by their modules' names, unit by unit, as the whole model has them; the first
    ``kept`` were recorded."""

    names: tuple[tuple[str, ...], ...]
    kept: int

    @property
    def more(self) -> int:
        return len(self.names) - self.kept

    @property
    def copied(self) -> int:
        """The unit that is repeated, neither the first nor the last of those recorded."""
        return self.kept // 2


@dataclass
class _Pass:
    """One way through the run: where each recorded unit begins and ends, by unit. ``up``: from the
    first to the last. ``length``: operations of the copied unit."""

    starts: np.ndarray
    ends: np.ndarray
    up: bool
    length: int


def extended(flat: Flat, run: Repetition) -> Flat:
    """Raises IrregularError where operations of the units are mingled."""
    return flat if run.more <= 0 else _Extension(flat, run).made()


class _Extension:
    def __init__(self, flat: Flat, run: Repetition):
        self.flat, self.run = flat, run
        modules = _Modules(flat.modules, run)
        self.names, self.table, self.units = modules.names, modules.table, modules.units
        self.passes = _passes(flat, self.units, run)
        self.before = np.zeros(flat.end + 1, dtype=np.int64)
        for each in self.passes:
            self.before[each.ends[run.copied] :] += run.more * each.length
        self.places = _Places(flat, self.passes, modules, run)
        copied = [each.starts[run.copied] for each in self.passes]
        self.bases = np.array([start + self.before[start] for start in copied], dtype=np.int64)
        self.lengths = np.array([each.length for each in self.passes], dtype=np.int64)
        self.up = np.array([each.up for each in self.passes], dtype=bool)

    def made(self) -> Flat:
        calls = np.zeros(len(self.names), dtype=np.int64)
        for copy in range(self.run.more + 1):
            chosen = slice(None) if copy == 0 else self.units == self.run.copied
            calls[self.table[chosen, copy]] = self.flat.calls[chosen]
        owners = np.array([module for module, _ in self.flat.trained], dtype=np.int64)
        order, copies = self._listed(owners)
        return replace(
            self.flat,
            operations=self._operations(),
            storages=np.concatenate([self._there_before(), self._born()]),
            modules=self.names,
            calls=calls,
            trained=[
                (int(self.table[owners[i], k]), self.flat.trained[i][1])
                for i, k in zip(order, copies, strict=True)
            ],
        )

    # ---- operations

    def _operations(self) -> np.ndarray:
        parts, at = [], 0
        for each in self.passes:
            begin, end = each.starts[self.run.copied], each.ends[self.run.copied]
            parts.append((np.arange(at, begin), 0))
            copies = range(self.run.more + 1)
            for copy in copies if each.up else reversed(copies):
                parts.append((np.arange(begin, end), copy))
            at = end
        parts.append((np.arange(at, self.flat.end), 0))
        rows = self.flat.operations[np.concatenate([rows for rows, _ in parts])]
        copies = np.repeat([copy for _, copy in parts], [len(rows) for rows, _ in parts])
        rows[:, MODULE] = self.table[rows[:, MODULE], copies]
        return rows

    def _moved(self, operations: np.ndarray) -> np.ndarray:
        """Where operations stand in the new order that are not repeated."""
        return operations + self.before[operations]

    def _copy_of(self, operations: np.ndarray, copies: np.ndarray) -> np.ndarray:
        """Where the copies stand of operations that lie in a unit."""
        which = self.places.which[operations]
        turns = np.where(self.up[which], copies, self.run.more - copies)
        return self.bases[which] + turns * self.lengths[which] + self.places.offset[operations]

    # ---- storages

    def _there_before(self) -> np.ndarray:
        """What was there before the step, in the order in which modules hold it."""
        old = self.flat.storages
        there = np.flatnonzero(old[:, BIRTH] < 0)
        order, copies = self._listed(old[there, OWNER])
        rows = old[there[order]]
        if np.any(self.places.unit[rows[:, DEATH]] >= 0):
            raise IrregularError("what was there before the step dies in a unit")
        rows[:, DEATH] = self._moved(rows[:, DEATH])
        rows[:, OWNER] = self.table[rows[:, OWNER], copies]
        return rows

    def _born(self) -> np.ndarray:
        old, copied = self.flat.storages, self.run.copied
        numbers = np.flatnonzero(old[:, BIRTH] >= 0)
        repeats = self.places.own[old[numbers, BIRTH]] == copied
        once, often = numbers[~repeats], numbers[repeats]
        copies = np.tile(np.arange(self.run.more + 1), len(often))
        each = np.repeat(often, self.run.more + 1)
        rows = old[np.concatenate([once, each])]
        births = [self._moved(old[once, BIRTH]), self._copy_of(old[each, BIRTH], copies)]
        deaths = [self._deaths_of_once(old[once]), self._deaths_of_copies(old[each], copies)]
        rows[:, BIRTH], rows[:, DEATH] = np.concatenate(births), np.concatenate(deaths)
        none = np.zeros(len(once), dtype=np.int64)
        rows[:, OWNER] = self.table[rows[:, OWNER], np.concatenate([none, copies])]
        return rows[np.lexsort((np.concatenate([once, each]), rows[:, BIRTH]))]

    def _deaths_of_once(self, rows: np.ndarray) -> np.ndarray:
        """What is born once and dies in the copied unit dies in the copy next to where it was born;
        what was born in no unit, in the first to run."""
        deaths, copied = rows[:, DEATH], self.run.copied
        found = self._moved(deaths)
        inside = np.flatnonzero(self.places.own[deaths] == copied)
        dying, own = deaths[inside], self.places.own[rows[inside, BIRTH]]
        first = np.where(own < 0, self.up[self.places.which[dying]], own < copied)
        found[inside] = self._copy_of(dying, np.where(first, 0, self.run.more))
        return found

    def _deaths_of_copies(self, rows: np.ndarray, copies: np.ndarray) -> np.ndarray:
        deaths = rows[:, DEATH]
        found = self._moved(deaths)
        apart = self.places.unit[deaths] - self.run.copied
        target = copies + apart
        near = (self.places.unit[deaths] >= 0) & (np.abs(apart) <= 1)
        inside = np.flatnonzero(near & (target >= 0) & (target <= self.run.more))
        found[inside] = self._copy_of(deaths[inside], target[inside])
        return found

    # ---- what lies in the order of the modules

    def _listed(self, owners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(positions, copies): rows in the modules' order, those of the copied unit once a copy."""
        order: list[int] = []
        copies: list[int] = []
        inside = self.units[owners] == self.run.copied if len(owners) else owners.astype(bool)
        edges = np.flatnonzero(np.diff(inside.astype(np.int8))) + 1
        for group in np.split(np.arange(len(owners)), edges):
            times = self.run.more + 1 if len(group) and inside[group[0]] else 1
            for copy in range(times):
                order += group.tolist()
                copies += [copy] * len(group)
        return np.array(order, dtype=np.int64), np.array(copies, dtype=np.int64)


class _Modules:
    """Of each module its unit (-1: none), ``table`` [module, copy] → its new number among
    ``names``, and ``alike``: equal for the modules that stand at the same place of two units."""

    def __init__(self, modules: list[str], run: Repetition):
        block_of = {
            name: (unit, block)
            for unit in range(run.kept)
            for block, name in enumerate(run.names[unit])
        }
        depths = {name.count(".") + 1 for name in block_of}
        self.units = np.full(len(modules), -1, dtype=np.int64)
        self.table = np.zeros((len(modules), run.more + 1), dtype=np.int64)
        self.alike = np.zeros(len(modules), dtype=np.int64)
        names: dict[str, int] = {}
        places: dict[tuple, int] = {}
        for number, module in enumerate(modules):
            found, rest = _block(module, block_of, depths)
            place = (None, module) if found is None else (found[1], rest)
            self.alike[number] = places.setdefault(place, len(places))
            if found is None:
                self.table[number] = names.setdefault(module, len(names))
                continue
            unit, block = found
            self.units[number] = unit
            repeats = unit == run.copied
            copies = range(run.more + 1) if repeats else (run.more * (unit > run.copied),)
            self.table[number] = [
                names.setdefault(run.names[unit + copy][block] + rest, len(names))
                for copy in copies
            ]
        self.names = list(names)


def _block(module: str, block_of: dict, depths: set[int]) -> tuple[tuple[int, int] | None, str]:
    parts = module.split(".")
    for depth in depths:
        name = ".".join(parts[:depth])
        if len(parts) >= depth and name in block_of:
            return block_of[name], module[len(name) :]
    return None, ""


class _Places:
    """Of each operation the unit in which it lies (``own``, -1: none), and where in the copied
    unit it has its like: in which unit it lies itself (``unit``, -1: it has none), pass (``which``)
    and ``offset``. The first and the last unit may begin or end otherwise than the others."""

    def __init__(self, flat: Flat, passes: list[_Pass], modules: _Modules, run: Repetition):
        self.own, self.unit, self.which, self.offset = np.full((4, flat.end + 1), -1)
        signatures, phases, owners = flat.operations.T
        keys = np.stack([signatures, phases, modules.alike[owners]], axis=1)
        for number, each in enumerate(passes):
            middle = keys[each.starts[run.copied] : each.ends[run.copied]]
            outer = run.kept - 1 if each.up else 0
            for unit in range(run.kept):
                begin, end = each.starts[unit], each.ends[unit]
                self.own[begin:end] = unit
                own = keys[begin:end]
                head = _equal(own, middle)
                self._put(begin, head, unit, number, 0)
                # what runs behind the last unit of a pass belongs to none
                tail = 0 if unit == outer else _equal(own[head:][::-1], middle[head:][::-1])
                self._put(end - tail, tail, unit, number, len(middle) - tail)

    def _put(self, begin: int, count: int, unit: int, which: int, offset: int) -> None:
        rows = slice(begin, begin + count)
        self.unit[rows], self.which[rows] = unit, which
        self.offset[rows] = np.arange(offset, offset + count)


def _equal(one: np.ndarray, other: np.ndarray) -> int:
    """How many rows from the first on are equal."""
    count = min(len(one), len(other))
    differ = np.flatnonzero((one[:count] != other[:count]).any(axis=1))
    return int(differ[0]) if len(differ) else count


def _passes(flat: Flat, units: np.ndarray, run: Repetition) -> list[_Pass]:
    marks = units[flat.operations[:, MODULE]]
    marked = np.flatnonzero(marks >= 0)
    backward = np.isin(flat.operations[marked, PHASE], _BACKWARD)
    keys = marks[marked] * 2 + backward
    first = np.flatnonzero(np.diff(keys, prepend=-1))
    starts, order = marked[first], marks[marked[first]]
    ends = np.append(starts[1:], flat.end)
    if len(order) % run.kept:
        raise IrregularError("the units do not run one after another")
    passes = []
    for at in range(0, len(order), run.kept):
        row = order[at : at + run.kept]
        up = bool(row[0] == 0)
        if not np.array_equal(np.sort(row), np.arange(run.kept)) or np.any(
            np.diff(row) != (1 if up else -1)
        ):
            raise IrregularError("the units do not run one after another")
        back = np.argsort(row)
        begin, end = starts[at : at + run.kept][back], ends[at : at + run.kept][back]
        passes.append(_Pass(begin, end, up, int(end[run.copied] - begin[run.copied])))
    return passes
