"""The operation kinds by name, and the operations by theirs: every module of ``operations/kinds``
with a ``KIND``.

A formula is declared for a base name (``aten.mm``) and holds for all overloads and for the in-place
form. An operation that no kind lists is of kind ``unmodelled``: it is priced by the bytes of its
operands and its share is reported, never 0. A kind that nobody declared is an error.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from planner.errors import ProfileError
from planner.operations.call import Call, Cost, Formula, Lengths, Number
from planner.operations.kind import Operation, OperationKind, Term
from planner.trace.table import Signature, StepTrace

WHERE = "planner/operations/kinds"
#: The kind of what no kind lists.
UNMODELLED = "unmodelled"


@dataclass(frozen=True)
class Work:
    """Of each signature: its kind, and arrays [n_signatures, *points] of FLOPs, bytes read and
    bytes written by one call."""

    kinds: tuple[str, ...]
    flops: np.ndarray
    read_bytes: np.ndarray
    write_bytes: np.ndarray

    @property
    def bytes(self) -> np.ndarray:
        return self.read_bytes + self.write_bytes


@functools.cache
def kinds() -> Mapping[str, OperationKind]:
    """Every declared kind by name, in the order of tables. Raises ProfileError for two of one
    name."""
    import planner.operations.kinds as package

    found: dict[str, OperationKind] = {}
    for module in pkgutil.iter_modules(package.__path__):
        kind = getattr(importlib.import_module(f"{package.__name__}.{module.name}"), "KIND", None)
        if kind is None:
            continue
        if kind.name in found:
            raise ProfileError(f"two files declare operation kind {kind.name!r}", where=WHERE)
        found[kind.name] = kind
    return {k.name: k for k in sorted(found.values(), key=lambda k: (k.place, k.name))}


def kind_named(name: str) -> OperationKind:
    """Raises ProfileError for a kind that no file declares."""
    found = kinds().get(name)
    if found is None:
        raise ProfileError(
            f"operation kind {name!r} is not declared",
            where=WHERE,
            mend=f"Declared: {', '.join(kinds())}. A kind is one file there with a KIND",
        )
    return found


def read_again() -> None:
    """Forget what was read: a kind came from outside, or went."""
    for cached in (kinds, _by_operation, _entry):
        cached.cache_clear()


# ---- operations


@functools.cache
def _by_operation() -> dict[str, tuple[OperationKind, Formula]]:
    """Base name → kind and formula. Raises ProfileError for a name that two kinds list."""
    found: dict[str, tuple[OperationKind, Formula]] = {}
    for kind in kinds().values():
        for name, formula in kind.formulas.items():
            if name in found:
                raise ProfileError(
                    f"two formulas for {name}: kinds {found[name][0].name} and {kind.name}",
                    where=WHERE,
                )
            found[name] = kind, formula
    return found


@functools.lru_cache(maxsize=4096)
def _entry(op: str) -> tuple[OperationKind, Formula]:
    namespace, _, rest = op.partition(".")
    name = rest.partition(".")[0]
    known = _by_operation()
    for candidate in (name, name.rstrip("_")):
        if f"{namespace}.{candidate}" in known:
            return known[f"{namespace}.{candidate}"]
    beginnings = [
        (len(prefix), kind, formula)
        for kind in kinds().values()
        for prefix, formula in kind.prefixes.items()
        if name.startswith(prefix)
    ]
    return max(beginnings, key=lambda found: found[0])[1:]  # that of unmodelled is empty


def kind_of(op: str) -> OperationKind:
    """The kind of an operation's full name: ``kind_of("aten.mm.default").name == "matmul"``."""
    return _entry(op)[0]


def operation_names() -> tuple[str, ...]:
    """Base names of every operation that a kind lists."""
    return tuple(_by_operation())


def work(trace: StepTrace, dims: np.ndarray) -> Work:
    """What every signature of a trace does at ``dims = trace.dims(...)`` [n_forms, *points]."""
    shape = (len(trace.signatures), *dims.shape[1:])
    flops, read, write = (np.zeros(shape) for _ in range(3))
    lengths, costs = Lengths(dims), trace.by_signature("costs", dims)
    for index, signature in enumerate(trace.signatures):
        made = costs.of(signature, functools.partial(_cost, signature, lengths))
        flops[index], read[index], write[index] = made
    return Work(tuple(kind_of(s.op).name for s in trace.signatures), flops, read, write)


def cost(signature: Signature, dims: np.ndarray) -> Cost:
    """What one call of a signature does at the values of its dimensions."""
    return _cost(signature, Lengths(dims))


def _cost(signature: Signature, lengths: Lengths) -> Cost:
    return _entry(signature.op)[1](Call(signature, lengths))


# ---- terms


def features_of(family: str) -> tuple[str, ...]:
    """Names of a family's features. Raises ProfileError for one of an undeclared kind."""
    return family_kind(family).features


def family_kind(family: str) -> OperationKind:
    """The kind of a family (``matmul.nt.bfloat16``). Raises ProfileError for an undeclared one."""
    return kind_named(family.partition(".")[0])


def terms(call: Call, flops: Number, moved: Number, precision: str = "fp32") -> list[Term]:
    """The terms of a call that does ``flops`` and moves ``moved`` bytes (of the kind's formula):
    most are one, the backward pass of a convolution is one for each gradient it computes. Kinds
    that run no kernel have none."""
    kind = kind_of(call.signature.op)
    if kind.terms is None:
        return []
    return kind.terms(Operation(kind, call, flops, moved), precision)
