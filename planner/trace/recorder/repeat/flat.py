"""A raw recording as arrays, so that a thousand operations are repeated in one go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from planner.trace.raw import RawTrace

#: Columns of ``Flat.operations`` and of ``Flat.storages``.
SIGNATURE, PHASE, MODULE = range(3)
SIZE, BIRTH, DEATH, CATEGORY, OWNER = range(5)


@dataclass
class Flat:
    """``operations`` [n, 3] and ``storages`` [n, 5] of integers, ``calls`` of each module, and
    what trains in the order in which the optimizer gets it: (module, its description)."""

    signatures: list
    operations: np.ndarray
    sizes: list[tuple]
    storages: np.ndarray
    modules: list[str]
    calls: np.ndarray
    trained: list[tuple[int, Any]]

    @property
    def end(self) -> int:
        return len(self.operations)


def flattened(raw: RawTrace, trained: list[tuple[str, Any]]) -> Flat:
    """``trained``: module and description of each parameter that trains, in order."""
    sizes: dict[tuple, int] = {}
    rows = [[sizes.setdefault((s[0], s[1]), len(sizes)), *s[2:6]] for s in raw.storages]
    modules = list(raw.modules)
    numbers = {name: index for index, name in enumerate(modules)}
    for name in (*(name for name, _ in trained), *raw.calls):
        if name not in numbers:
            numbers[name] = len(modules)
            modules.append(name)
    return Flat(
        raw.signatures,
        np.array(raw.operations, dtype=np.int64).reshape(-1, 3),
        list(sizes),
        np.array(rows, dtype=np.int64).reshape(-1, 5),
        modules,
        np.array([raw.calls.get(name, 0) for name in modules], dtype=np.int64),
        [(numbers[name], what) for name, what in trained],
    )


def restored(flat: Flat) -> RawTrace:
    raw = RawTrace(
        signatures=flat.signatures,
        operations=list(map(tuple, flat.operations.tolist())),
        storages=[[*flat.sizes[row[0]], *row[1:]] for row in flat.storages.tolist()],
        modules=flat.modules,
    )
    raw.calls = {
        name: count for name, count in zip(flat.modules, flat.calls.tolist(), strict=True) if count
    }
    return raw


def written_out(flat: Flat) -> tuple[list, list, dict, list]:
    """Everything by name and value, whatever numbers stand for it: equal for equal steps."""
    names, signatures = flat.modules, flat.signatures
    operations = [(signatures[s], p, names[m]) for s, p, m in flat.operations.tolist()]
    storages = [
        (flat.sizes[size], birth, death, category, names[owner])
        for size, birth, death, category, owner in flat.storages.tolist()
    ]
    calls = {n: c for n, c in zip(names, flat.calls.tolist(), strict=True) if c}
    return operations, storages, calls, [(names[m], what) for m, what in flat.trained]
