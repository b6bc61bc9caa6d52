"""Several recordings of one step become integers: every dimension as an exact combination of 1, B,
S, B·S (T, B·T).

The operations must be the same at all points, one by one; where they are not, the trace has
regimes, and each regime is recorded on its own (``StructureChanges``). The linear systems have as
many points as monomials, so a fit always exists; what proves it is that all coefficients are whole
numbers, and the tests' comparison at further points.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from planner.errors import ModelError
from planner.trace.recorder.dispatch_mode import RawTrace
from planner.trace.table import Operand, Signature, StepTrace

MONOMIALS = {
    "B": ("1", "B"),
    "BS": ("1", "B", "S", "BS"),
    "BST": ("1", "B", "S", "BS", "T", "BT"),
    "S": ("1", "S"),
    "ST": ("1", "S", "T"),
    "": ("1",),
}


class StructureChanges(ModelError):
    """The sequence of operations is not the same at two points."""


@dataclass
class _Forms:
    """Interned dimension forms. ``inverse`` maps the values at the points to coefficients."""

    inverse: list[list[Fraction]]
    rows: list[tuple[int, ...]] = field(default_factory=list)
    _by_values: dict[tuple[int, ...], int] = field(default_factory=dict)
    _by_row: dict[tuple[int, ...], int] = field(default_factory=dict)

    def of(self, values: tuple[int, ...]) -> int:
        index = self._by_values.get(values)
        if index is None:
            row = tuple(sum(c * v for c, v in zip(line, values)) for line in self.inverse)
            if any(c.denominator != 1 for c in row):
                raise StructureChanges(
                    f"a dimension takes the sizes {values}, which no whole-number combination gives"
                )
            row = tuple(int(c) for c in row)
            index = self._by_row.setdefault(row, len(self.rows))
            if index == len(self.rows):
                self.rows.append(row)
            self._by_values[values] = index
        return index


def fit(
    raws: list[RawTrace],
    points: list[dict[str, int]],
    symbols: str,
    *,
    fixed: dict[str, int] | None = None,
    **more,
) -> StepTrace:
    """``points[i]`` gives the symbols of ``raws[i]``; as many points as monomials. ``more`` goes
    into the trace (meta, domain).

    Raises StructureChanges when the operations differ or a dimension is no whole-number
    combination.
    """
    monomials = MONOMIALS[symbols]
    system = [[_value(m, p) for m in monomials] for p in points]
    forms = _Forms(_invert(system))
    first = raws[0]
    if any(
        len(r.operations) != len(first.operations) or len(r.storages) != len(first.storages)
        for r in raws
    ):
        raise StructureChanges(
            f"the number of operations differs between {points[0]} and {points[-1]}"
        )
    signatures, op_signature = _fit_operations(raws, forms)
    sizes, storages = _fit_storages(raws, forms)
    return StepTrace(
        forms=np.array(forms.rows, dtype=np.int64),
        monomials=monomials,
        signatures=tuple(signatures),
        op_signature=np.array(op_signature, dtype=np.int32),
        op_phase=np.array([o[1] for o in first.operations], dtype=np.uint8),
        op_module=np.array([o[2] for o in first.operations], dtype=np.int32),
        sizes=tuple(sizes),
        **storages,
        modules=tuple(first.modules),
        **more,
    )


def _fit_operations(raws, forms):
    known: dict[tuple[int, ...], int] = {}
    interned: dict[Signature, int] = {}
    sequence = []
    for position in range(len(raws[0].operations)):
        rows = [r.operations[position] for r in raws]
        if any(row[1:] != rows[0][1:] for row in rows):
            raise StructureChanges(
                f"operation {position} runs in another phase or module at another point"
            )
        key = tuple(row[0] for row in rows)
        index = known.get(key)
        if index is None:
            signature = _signature([r.signatures[k] for r, k in zip(raws, key)], forms)
            index = known[key] = interned.setdefault(signature, len(interned))
        sequence.append(index)
    return list(interned), sequence


def _signature(versions, forms) -> Signature:
    name = versions[0][0]
    if any(v[0] != name for v in versions):
        raise StructureChanges(
            f"{name} at one point is {next(v[0] for v in versions if v[0] != name)} at another"
        )
    inputs = _operand_lists([v[1] for v in versions], forms, name)
    outputs = _operand_lists([v[2] for v in versions], forms, name)
    # Arguments that change with the batch (sizes, ends of ranges) are told by the operands already.
    attrs = tuple(
        sorted(
            (key, value)
            for key, value in versions[0][3]
            if all((key, value) in v[3] for v in versions[1:])
        )
    )
    return Signature(name, inputs, outputs, attrs)


def _operand_lists(versions, forms, name) -> tuple[Operand, ...]:
    if any(len(v) != len(versions[0]) for v in versions):
        raise StructureChanges(f"{name} has another number of operands at another point")
    out = []
    for same in zip(*versions):
        shapes, kinds = [s[0] for s in same], {s[1:2] + s[4:] for s in same}
        if len(kinds) > 1 or any(len(s) != len(shapes[0]) for s in shapes):
            raise StructureChanges(
                f"an operand of {name} has another type or rank at another point"
            )
        _, dtype, layout, expanded, count = same[0]
        out.append(
            Operand(
                tuple(forms.of(values) for values in zip(*shapes)), dtype, layout, expanded, count
            )
        )
    return tuple(out)


def _fit_storages(raws, forms):
    sizes: dict[tuple, int] = {}
    columns = {"size": [], "birth": [], "death": [], "category": [], "storage_module": []}
    for same in zip(*(r.storages for r in raws)):
        if any(s[1:6] != same[0][1:6] or len(s[0]) != len(same[0][0]) for s in same):
            raise StructureChanges("a tensor lives from or to another operation at another point")
        shape = tuple(forms.of(values) for values in zip(*(s[0] for s in same)))
        columns["size"].append(sizes.setdefault((shape, same[0][1]), len(sizes)))
        for name, value in zip(("birth", "death", "category", "storage_module"), same[0][2:6]):
            columns[name].append(value)
    kinds = {"category": np.uint8}
    return list(sizes), {
        name: np.array(values, dtype=kinds.get(name, np.int32)) for name, values in columns.items()
    }


def _value(monomial: str, point: dict[str, int]) -> int:
    value = 1
    for symbol in monomial.replace("1", ""):
        value *= point[symbol]
    return value


def _invert(system: list[list[int]]) -> list[list[Fraction]]:
    """The exact inverse of a small integer matrix, by Gauss and Jordan. Raises ValueError for
    points that do not tell the monomials apart."""
    n = len(system)
    rows = [
        [Fraction(v) for v in line] + [Fraction(int(i == j)) for j in range(n)]
        for i, line in enumerate(system)
    ]
    for column in range(n):
        pivot = next((r for r in range(column, n) if rows[r][column] != 0), None)
        if pivot is None:
            raise ValueError("these points do not tell the monomials apart")
        rows[column], rows[pivot] = rows[pivot], rows[column]
        rows[column] = [v / rows[column][column] for v in rows[column]]
        for r in range(n):
            if r != column and rows[r][column] != 0:
                factor = rows[r][column]
                rows[r] = [a - factor * b for a, b in zip(rows[r], rows[column])]
    return [line[n:] for line in rows]
