"""Several recordings of one step become integers: every dimension as an exact combination of 1, B,
S, B·S (T, B·T), and of the number of classes C.

The operations must be the same at all points, one by one; where they are not, the trace has
regimes, and each regime is recorded on its own (``StructureChanges``). The first points, as many as
monomials, give the linear system, so a fit always exists; what proves it is that all coefficients
are whole numbers, that the points beyond these agree, and the tests' comparison at further points.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from planner.errors import ModelError
from planner.trace.raw import RawTrace
from planner.trace.table import PER_CLASS, Operand, Signature, StepTrace, value_of

MONOMIALS = {
    "B": ("1", "B"),
    "BS": ("1", "B", "S", "BS"),
    "BST": ("1", "B", "S", "BS", "T", "BT"),
    "BT": ("1", "B", "T", "BT"),
    "S": ("1", "S"),
    "T": ("1", "T"),
    "ST": ("1", "S", "T"),
    "": ("1",),
}
#: What is counted of a runner and may grow with the classes.
COUNTED = (
    "total_params",
    "trainable_params",
    "checkpoint_bytes",
    "gradient_bytes",
    "kept_wide_bytes",
    "kept_stored_bytes",
)


def monomials_of(symbols: str, classes: str = "") -> tuple[str, ...]:
    """Of a batch's symbols, and of C where heads vary: ``alone``, C by itself, or ``mixed``, C with
    each of the others too (the logits of a whole batch as one dimension)."""
    plain = MONOMIALS[symbols]
    of_classes = {"": (), "alone": ("C",), "mixed": tuple(f"{m}C".lstrip("1") for m in plain)}
    return plain + of_classes[classes]


class StructureChanges(ModelError):
    """The sequence of operations is not the same at two points."""


@dataclass
class _Forms:
    """Interned dimension forms. ``inverse`` maps the values at the first points to coefficients;
    ``beyond`` are the monomials' values at the points after these, which have to agree."""

    inverse: list[list[Fraction]]
    beyond: list[list[int]] = field(default_factory=list)
    #: The number of classes at each point, where it is a symbol.
    classes: list[int] = field(default_factory=list)
    #: The values at the points of the monomials that are rounded.
    rounded: list[tuple[int, ...]] = field(default_factory=list)
    rows: list[tuple[int, ...]] = field(default_factory=list)
    _by_values: dict[tuple[int, ...], int] = field(default_factory=dict)
    _by_row: dict[tuple[int, ...], int] = field(default_factory=dict)

    def of(self, values: tuple[int, ...]) -> int:
        index = self._by_values.get(values)
        if index is None:
            row = self._row(values)
            index = self._by_row.setdefault(row, len(self.rows))
            if index == len(self.rows):
                self.rows.append(row)
            self._by_values[values] = index
        return index

    def _row(self, values: tuple[int, ...]) -> tuple[int, ...]:
        row = tuple(sum(c * v for c, v in zip(line, values)) for line in self.inverse)
        later = values[len(self.inverse) :]
        if all(c.denominator == 1 for c in row) and all(
            sum(c * m for c, m in zip(row, line)) == value
            for line, value in zip(self.beyond, later)
        ):
            return (*(int(c) for c in row), *(0 for _ in self.rounded))
        if values not in self.rounded:
            raise StructureChanges(
                f"a dimension takes the sizes {values}, which no whole-number combination gives"
            )
        chosen = self.rounded.index(values)
        return (*(0 for _ in row), *(int(i == chosen) for i in range(len(self.rounded))))


def fit(
    raws: list[RawTrace],
    points: list[dict[str, int]],
    monomials: tuple[str, ...],
    rounded: tuple[str, ...] = (),
    **more,
) -> StepTrace:
    """``points[i]`` gives the symbols of ``raws[i]``; as many points as monomials, and such as
    confirm them. ``rounded``: monomials of which one alone may be a dimension. ``more`` goes into
    the trace (meta, domain).

    Raises StructureChanges when the operations differ or a dimension is no whole-number
    combination.
    """
    system = [[value_of(m, p) for m in monomials] for p in points]
    classes = [point["C"] for point in points if "C" in point]
    forms = _Forms(
        _invert(system[: len(monomials)]),
        system[len(monomials) :],
        classes,
        [tuple(value_of(monomial, point) for point in points) for monomial in rounded],
    )
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
    rows, monomials = _used(np.array(forms.rows, dtype=np.int64), monomials, rounded)
    return StepTrace(
        forms=rows,
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


def _used(
    rows: np.ndarray, monomials: tuple[str, ...], rounded: tuple[str, ...]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Without the rounded monomials that no dimension is."""
    kept = [column for column in range(len(monomials), rows.shape[1]) if rows[:, column].any()]
    names = tuple(rounded[column - len(monomials)] for column in kept)
    return rows[:, [*range(len(monomials)), *kept]], monomials + names


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
    attrs = _attributes([dict(v[3]) for v in versions], forms.classes)
    return Signature(name, inputs, outputs, attrs)


def _attributes(versions: list[dict[str, Any]], classes: list[int]) -> tuple[tuple[str, Any], ...]:
    """Those that are equal at all points, and whole numbers that change with the classes alone: at
    no class, and under ``PER_CLASS`` what one class adds. Arguments that change with the batch
    (sizes, ends of ranges) are told by the operands already."""
    found: dict[str, Any] = {}
    for name, value in versions[0].items():
        if any(name not in version for version in versions):
            continue
        values = [version[name] for version in versions]
        if all(other == value for other in values):
            found[name] = value
        elif classes:
            found |= _per_class(name, values, classes)
    return tuple(sorted(found.items()))


def _per_class(name: str, values: list[Any], classes: list[int]) -> dict[str, Any]:
    by_class = dict(zip(classes, values))
    low, high = sorted(by_class)
    if any(by_class[number] != value for number, value in zip(classes, values)):
        return {}  # it changes with the batch too
    first, last = _whole(by_class[low]), _whole(by_class[high])
    if first is None or last is None or len(first) != len(last):
        return {}
    steps = [b - a for a, b in zip(first, last)]
    if any(step % (high - low) for step in steps):
        raise StructureChanges(f"the argument {name} takes {first} and {last}: no whole numbers")
    added = tuple(step // (high - low) for step in steps)
    base = tuple(a - step * low for a, step in zip(first, added))
    if not isinstance(by_class[low], tuple):
        return {name: base[0], PER_CLASS + name: added[0]}
    return {name: base, PER_CLASS + name: added}


def _whole(value: Any) -> tuple[int, ...] | None:
    """Whole numbers as a tuple; None for anything else."""
    values = value if isinstance(value, tuple) else (value,)
    whole = all(isinstance(v, int) and not isinstance(v, bool) for v in values)
    return values if whole else None


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


def fit_counts(counts: list[dict[str, Any]], classes: list[int]) -> dict[str, Any]:
    """What was counted at two numbers of classes: each figure without classes, and under
    ``per_class`` what one class adds. Raises StructureChanges where that is no whole number, or
    anything else differs."""
    (low, high), width = counts, classes[1] - classes[0]
    grows = {name: high[name] - low[name] for name in COUNTED if name in low and name in high}
    if {**high, **{name: low[name] for name in grows}} != low:
        raise StructureChanges("something else than sizes changes with the number of classes")
    if any(step % width for step in grows.values()):
        raise StructureChanges("what one class adds is no whole number")
    added = {name: step // width for name, step in grows.items() if step}
    return low | {
        **{name: low[name] - step * classes[0] for name, step in added.items()},
        "per_class": added,
    }


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
