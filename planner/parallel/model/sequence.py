"""Sequence parallelism beside tensor parallelism (Korthikanti et al. 2022, arXiv 2205.05198): what
is no product runs on a rank's part of the sequence, and tensors are gathered where products begin
and reduced into parts where they end.

A rewrite of a rank's trace: operations and storages of norms and residuals get a share of S, and
what the ranks send each other is counted. The buffer that is gathered into is there all the time,
as Megatron-LM keeps one. Dropouts inside attention and MLP run whole; the all-reduce of the norms'
gradients, thousandths of the others, is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from planner.memory.lifetimes import ACTIVATIONS, TEMPORARY, first_optimizer_operation
from planner.parallel.model.places import BACKWARD, FORWARD, PRODUCTS, RECOMPUTE, Places
from planner.trace.table import Operand, Signature, StepTrace

#: The name of a trace's attribute that counts what tensor-parallel ranks send each other.
TENSOR = "tensor"


@dataclass(frozen=True)
class TensorSending:
    """Of one micro-batch. ``size``: index of the whole hidden state among the trace's sizes;
    ``gathers`` and ``scatters``: collectives of that size, (forward, backward) each; ``rows``:
    index of the size of one float32 number a token, of which ``sums`` are all-reduced in the
    loss."""

    size: int
    gathers: tuple[int, int]
    scatters: tuple[int, int]
    rows: int
    sums: int


def in_parts(trace: StepTrace, places: Places, ranks: int, tensors: tuple[int, ...]) -> StepTrace:
    """One of ``ranks``. ``tensors``: form indices (B, S, hidden) of the whole hidden state, with
    its bytes a number last."""
    cut = _Cut(trace, ranks)
    whole = places.block & ~places.region | places.norm
    signatures, op_signature = list(trace.signatures), trace.op_signature.copy()
    number = {signature: index for index, signature in enumerate(signatures)}
    mine = whole[trace.op_module] & (trace.op_phase != 4)
    for old in dict.fromkeys(trace.op_signature[mine].tolist()):
        made = cut.signature(trace.signatures[old])
        at = number.setdefault(made, len(signatures))
        if at == len(signatures):
            signatures.append(made)
        op_signature[mine & (trace.op_signature == old)] = at
    sizes = list(trace.sizes)
    known = {one: index for index, one in enumerate(sizes)}
    size = trace.size.copy()
    held = whole[trace.storage_module] | places.embedding[trace.storage_module]
    inner = held & (trace.birth >= 0) & (trace.birth < first_optimizer_operation(trace))
    for storage in np.flatnonzero(inner).tolist():
        shape, itemsize = trace.sizes[int(trace.size[storage])]
        made = cut.shape(shape), itemsize
        size[storage] = known.setdefault(made, len(sizes))
        if size[storage] == len(sizes):
            sizes.append(made)
    *hidden, itemsize = tensors
    buffer = _place(sizes, (tuple(hidden), itemsize))
    rows = _place(sizes, (tuple(hidden[:-1]), 4))
    last = max(0, first_optimizer_operation(trace) - 1)
    return replace(
        trace,
        monomials=cut.monomials,
        forms=cut.all_forms(),
        signatures=tuple(signatures),
        op_signature=op_signature.astype(np.int32),
        sizes=tuple(sizes),
        size=np.append(size, buffer).astype(np.int32),
        birth=np.append(trace.birth, 0).astype(np.int32),
        death=np.append(trace.death, last).astype(np.int32),
        category=np.append(trace.category, TEMPORARY).astype(trace.category.dtype),
        storage_module=np.append(trace.storage_module, 0).astype(np.int32),
        meta={**trace.meta, TENSOR: _sending(trace, places, buffer, rows)},
    )


def _place(sizes: list[tuple[tuple[int, ...], int]], one: tuple[tuple[int, ...], int]) -> int:
    if one not in sizes:
        sizes.append(one)
    return sizes.index(one)


def _sending(trace: StepTrace, places: Places, size: int, rows: int) -> TensorSending:
    """Forward: a region gathers its input and scatters its result. Backward: its gradients go the
    other way; where the region is recomputed its input is gathered and its result scattered once
    more. The gather of a saved input runs beside products and is not counted."""
    region = places.of_region[trace.op_module]

    def passed(phase: int) -> int:
        return len(np.unique(region[(trace.op_phase == phase) & (region >= 0)]))

    forward, backward = passed(FORWARD), passed(BACKWARD)
    products = np.array([s.op.startswith(PRODUCTS) for s in trace.signatures])
    again = (trace.op_phase == RECOMPUTE) & (region >= 0) & products[trace.op_signature]
    repeated = len(np.unique(region[again]))
    first = int(bool((places.before & (trace.op_phase == FORWARD)).any()))
    last = int(bool((places.behind & (trace.op_phase == FORWARD)).any()))
    return TensorSending(
        size,
        gathers=(forward + last, backward + repeated + first),
        scatters=(forward + first, backward + repeated + last),
        rows=rows,
        sums=3 * last,
    )


class _Cut:
    """Forms of a rank's part of the sequence: a share of every monomial with an S."""

    def __init__(self, trace: StepTrace, ranks: int) -> None:
        self.trace, self.ranks = trace, ranks
        plain = list(trace.monomials)
        self.long = [n for n, name in enumerate(plain) if "S" in name and "*" not in name]
        self.monomials = (*plain, *(f"{plain[n]}*1/{ranks}" for n in self.long))
        self._forms: dict[int, int] = {}

    def form(self, index: int) -> int:
        return self._forms.setdefault(index, len(self.trace.forms) + len(self._forms))

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """With its first dimension that has an S in it cut."""
        for place, index in enumerate(shape):
            if self.trace.forms[index, self.long].any():
                return (*shape[:place], self.form(index), *shape[place + 1 :])
        return shape

    def signature(self, one: Signature) -> Signature:
        def cut(operands: tuple[Operand, ...]) -> tuple[Operand, ...]:
            return tuple(replace(o, shape=self.shape(o.shape)) for o in operands)

        return replace(one, inputs=cut(one.inputs), outputs=cut(one.outputs))

    def all_forms(self) -> np.ndarray:
        old = self.trace.forms
        wider = np.concatenate([old, np.zeros((len(old), len(self.long)), old.dtype)], axis=1)
        rows = wider[list(self._forms)] if self._forms else wider[:0]
        rows = rows.copy()
        rows[:, old.shape[1] :] = rows[:, self.long]
        rows[:, self.long] = 0
        return np.concatenate([wider, rows])


def activations_of(trace: StepTrace) -> np.ndarray:
    """Storages that a micro-batch keeps from its forward to its backward pass."""
    return np.flatnonzero((trace.category == ACTIVATIONS) & (trace.birth >= 0))
