"""A trace of any number of classes becomes that of one: what follows knows of B, S and T alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from planner.trace.table import PER_CLASS, Operand, Signature, StepTrace, value_of

CLASSES = "C"
#: Lists longer than this hold equal tensors once, with their count (as the recorder writes them).
GROUPED_FROM = 8


def is_free(trace: StepTrace) -> bool:
    """Whether the number of classes is a symbol of the trace."""
    return any(CLASSES in monomial for monomial in trace.monomials)


def bind(trace: StepTrace, classes: int) -> StepTrace:
    """The trace that a recording with so many classes gives, in exact integers: dimensions,
    signatures and sizes that are equal there are one, and figures of ``meta`` have the classes
    in them."""
    monomials, forms = _folded(trace, classes)
    number, forms = _distinct(forms)
    kept, signatures = _interned([_at(s, number, classes) for s in trace.signatures])
    rows, sizes = _interned(
        [(tuple(number[form] for form in shape), itemsize) for shape, itemsize in trace.sizes]
    )
    return replace(
        trace,
        monomials=monomials,
        forms=forms,
        signatures=signatures,
        op_signature=kept[trace.op_signature].astype(np.int32),
        sizes=sizes,
        size=rows[trace.size].astype(np.int32),
        meta=_counted(trace.meta, classes),
        domain={name: ends for name, ends in trace.domain.items() if name != CLASSES},
    )


def _folded(trace: StepTrace, classes: int) -> tuple[tuple[str, ...], np.ndarray]:
    """The monomials without C, and the forms as combinations of these."""
    plain = tuple(m for m in trace.monomials if CLASSES not in m)
    forms = np.zeros((len(trace.forms), len(plain)), dtype=np.int64)
    for column, monomial in enumerate(trace.monomials):
        symbols, _, share = monomial.partition("*")
        times, without = 1, symbols
        if CLASSES in symbols:
            without = symbols.replace(CLASSES, "") or "1"
            times = value_of(f"{CLASSES}*{share}" if share else CLASSES, {CLASSES: classes})
        forms[:, plain.index(without)] += times * trace.forms[:, column]
    return plain, forms


def _distinct(forms: np.ndarray) -> tuple[list[int], np.ndarray]:
    """Each form's number among the different ones, and these."""
    places, rows = _interned([tuple(row) for row in forms.tolist()])
    return places.tolist(), np.array(rows, dtype=np.int64).reshape(len(rows), forms.shape[1])


def _interned(values: Sequence[Any]) -> tuple[np.ndarray, tuple[Any, ...]]:
    """Each value's number among the different ones, and these in the order of their first."""
    known: dict[Any, int] = {}
    places = [known.setdefault(value, len(known)) for value in values]
    return np.array(places, dtype=np.int64), tuple(known)


def _at(signature: Signature, number: list[int], classes: int) -> Signature:
    return replace(
        signature,
        inputs=_operands(signature.inputs, number),
        outputs=_operands(signature.outputs, number),
        attrs=_attributes(signature.attrs, classes),
    )


def _attributes(pairs: tuple[tuple[str, Any], ...], classes: int) -> tuple[tuple[str, Any], ...]:
    """With what the classes add; the same where none does."""
    added = {name: value for name, value in pairs if name.startswith(PER_CLASS)}
    if not added:
        return pairs
    return tuple(
        (name, _plus(value, added.get(PER_CLASS + name), classes))
        for name, value in pairs
        if name not in added
    )


def _plus(value: Any, added: Any, classes: int) -> Any:
    if added is None:
        return value
    if isinstance(value, tuple):
        return tuple(one + step * classes for one, step in zip(value, added))
    return value + added * classes


def _operands(operands: tuple[Operand, ...], number: list[int]) -> tuple[Operand, ...]:
    here = [replace(o, shape=tuple(number[form] for form in o.shape)) for o in operands]
    if sum(operand.count for operand in here) <= GROUPED_FROM:
        return tuple(here)
    counts: dict[Operand, int] = {}
    for operand in here:
        one = replace(operand, count=1)
        counts[one] = counts.get(one, 0) + operand.count
    return tuple(replace(operand, count=count) for operand, count in counts.items())


def _counted(meta: Mapping[str, Any], classes: int) -> dict[str, Any]:
    counted = dict(meta)
    for name, added in counted.pop("per_class", {}).items():
        counted[name] += added * classes
    return counted
