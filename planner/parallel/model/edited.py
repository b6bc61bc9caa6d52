"""A trace with operations put between its own, and storages with other lives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from planner.trace.table import Operand, Signature, StepTrace


@dataclass(frozen=True, eq=False)
class Inserted:
    """An operation that is put before an old one."""

    before: int
    signature: Signature
    phase: int
    module: int


#: When something happens: at an operation of the old trace, or at one that is put in.
Moment = int | Inserted


class Editor:
    """Collects what changes; ``finished`` makes the new trace. Sizes that are added are of whole
    numbers that no symbol changes."""

    def __init__(self, trace: StepTrace) -> None:
        self.trace = trace
        self.operations: list[Inserted] = []
        self._forms: dict[int, int] = {}
        self._sizes: dict[tuple[tuple[int, ...], int], int] = {}
        self._added: list[tuple[int, Moment | None, Sequence[Moment], int, int]] = []
        self._resized: dict[int, int] = {}
        self._deaths: dict[int, Moment] = {}

    def form(self, number: int) -> int:
        """Index of the dimension of so many."""
        return self._forms.setdefault(number, len(self.trace.forms) + len(self._forms))

    def size(self, numbers: int, itemsize: int) -> int:
        """Index of a flat size."""
        key = (self.form(numbers),), itemsize
        return self._sizes.setdefault(key, len(self.trace.sizes) + len(self._sizes))

    def operation(
        self, before: int, name: str, operands: Sequence[tuple[int, str]], phase: int, module: int
    ) -> Inserted:
        """``operands``: numbers and type of what is read, and of the result last."""
        made = [Operand((self.form(numbers),), dtype) for numbers, dtype in operands]
        signature = Signature(name, tuple(made[:-1]), tuple(made[-1:]))
        self.operations.append(Inserted(before, signature, phase, module))
        return self.operations[-1]

    def storage(
        self,
        size: int,
        birth: Moment | None,
        deaths: Sequence[Moment],
        category: int,
        module: int,
    ) -> None:
        """There from before the step where ``birth`` is None; freed after the latest of
        ``deaths``."""
        self._added.append((size, birth, deaths, category, module))

    def resize(self, storage: int, size: int) -> None:
        self._resized[storage] = size

    def free(self, storage: int, death: Moment) -> None:
        """Another end of a storage that is there."""
        self._deaths[storage] = death

    # ---- the new trace

    def finished(self, meta: dict[str, Any]) -> tuple[StepTrace, Callable[[Moment], int]]:
        """(the trace, where a moment is in it)."""
        trace, count = self.trace, self.trace.op_count
        order = sorted(range(len(self.operations)), key=lambda n: self.operations[n].before)
        inserted = [self.operations[number] for number in order]
        before = np.array([one.before for one in inserted], dtype=np.int64)
        places = {id(one): int(at) + n for n, (one, at) in enumerate(zip(inserted, before))}
        moved = np.arange(count + 1) + np.searchsorted(before, np.arange(count + 1), side="right")

        def at(moment: Moment) -> int:
            return places[id(moment)] if isinstance(moment, Inserted) else int(moved[moment])

        birth = np.where(trace.birth < 0, trace.birth, moved[np.maximum(trace.birth, 0)])
        death = moved[np.minimum(trace.death, count)] + np.maximum(trace.death - count, 0)
        size = trace.size.copy()
        for storage, moment in self._deaths.items():
            death[storage] = at(moment)
        for storage, index in self._resized.items():
            size[storage] = index
        new = [
            (index, -1 if start is None else at(start), max(map(at, ends)), category, module)
            for index, start, ends, category, module in self._added
        ]
        columns = list(zip(*new)) if new else [()] * 5
        signatures = list(dict.fromkeys([*trace.signatures, *(o.signature for o in inserted)]))
        number = {signature: index for index, signature in enumerate(signatures)}
        made = replace(
            trace,
            forms=self._all_forms(),
            signatures=tuple(signatures),
            op_signature=np.insert(
                _renumbered(trace, number), before, [number[o.signature] for o in inserted]
            ).astype(np.int32),
            op_phase=np.insert(trace.op_phase, before, [o.phase for o in inserted]),
            op_module=np.insert(trace.op_module, before, [o.module for o in inserted]),
            sizes=(*trace.sizes, *self._sizes),
            size=_more(size, columns[0]),
            birth=_more(birth.astype(trace.birth.dtype), columns[1]),
            death=_more(death.astype(trace.death.dtype), columns[2]),
            category=_more(trace.category, columns[3]),
            storage_module=_more(trace.storage_module, columns[4]),
            meta=meta,
        )
        return made, at

    def _all_forms(self) -> np.ndarray:
        forms = self.trace.forms
        rows = np.zeros((len(self._forms), forms.shape[1]), dtype=forms.dtype)
        rows[:, self.trace.monomials.index("1")] = list(self._forms)
        return np.concatenate([forms, rows])


def _renumbered(trace: StepTrace, number: dict[Signature, int]) -> np.ndarray:
    return np.array([number[s] for s in trace.signatures], dtype=np.int64)[trace.op_signature]


def _more(values: np.ndarray, added: Sequence[int]) -> np.ndarray:
    return np.append(values, np.array(added, dtype=values.dtype))
