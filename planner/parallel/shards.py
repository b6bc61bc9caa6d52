"""How a tensor is cut over devices: along its first dimension into equal parts, the last ones
padded, as FSDP2 does it (torch 2.13 ``_fully_shard/_fsdp_param.py: _init_sharded_param``); and an
optimizer's step on such parts."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Generic, TypeVar

import numpy as np

from planner.memory.lifetimes import OPTIMIZER, first_optimizer_operation
from planner.parallel.model.experts import is_of_experts, sharing
from planner.parallel.units import numbers_of
from planner.trace.table import PHASES, Operand, Signature, StepTrace

_Key = TypeVar("_Key", bound=Hashable)
_OPTIMIZER = PHASES.index("optimizer")
#: The narrow types of a step whose weights are kept in float32, in bytes.
_NARROW, _WIDE = ("bfloat16", "float16"), 4


def part_of(trace: StepTrace, size: int, shards: int) -> int:
    """Numbers of one device's part, padded as the others'; what has one number, or depends on a
    symbol, is whole. Of experts: of those that a device has."""
    whole = numbers_of(trace, size)
    if whole <= 1:
        return max(whole, 0)
    shape, _ = trace.sizes[size]
    cut = cut_at(trace, shape, shards)
    if cut is None:
        return whole
    place, parts = cut
    number = int(trace.forms[shape[place], trace.monomials.index("1")])
    return -(-number // parts) * (whole // number)


def cut_at(trace: StepTrace, shape: tuple[int, ...], shards: int) -> tuple[int, int] | None:
    """(which dimension is cut, into how many parts): the first of more than one; of experts fewer
    than the devices that share them the next one (torchtitan's ``_experts_shard_placement_fn``).
    None where nothing is cut."""
    values = trace.forms[list(shape), trace.monomials.index("1")] if shape else np.zeros(0)
    parts = sharing(trace, shape, shards)
    places = [place for place, value in enumerate(values) if value > 1]
    if is_of_experts(trace, shape) and places[:1] == [0] and values[0] < parts:
        places = places[1:] or places
    return (places[0], parts) if places else None


def sharded_update(trace: StepTrace, shards: int, wide: bool) -> StepTrace:
    """The trace with the optimizer's states, operations and what they hold for a moment of one
    device's parts; ``wide``: in float32, where the step's weights are of 16 bits."""
    return trace.memo.of(
        "sharded update", (shards, wide), lambda: _sharded(_Cut(trace, shards, wide))
    )


class _Cut:
    def __init__(self, trace: StepTrace, shards: int, wide: bool) -> None:
        self.trace, self.shards, self.wide = trace, shards, wide
        self.one = trace.monomials.index("1")
        self.forms: dict[int, int] = {}

    def form(self, number: int) -> int:
        return self.forms.setdefault(number, len(self.trace.forms) + len(self.forms))

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """With its first dimension of more than one cut; as it is where a symbol is in it."""
        rows = self.trace.forms[list(shape)] if shape else np.zeros((0, 1), dtype=np.int64)
        if not shape or np.delete(rows, self.one, axis=1).any():
            return shape
        cut = cut_at(self.trace, shape, self.shards)
        if cut is None:
            return shape
        place, parts = cut
        part = self.form(-(-int(rows[place, self.one]) // parts))
        return (*shape[:place], part, *shape[place + 1 :])

    def operand(self, operand: Operand) -> Operand:
        dtype = "float32" if self.wide and operand.dtype in _NARROW else operand.dtype
        return replace(operand, shape=self.shape(operand.shape), dtype=dtype)

    def signature(self, signature: Signature) -> Signature:
        return replace(
            signature,
            inputs=tuple(map(self.operand, signature.inputs)),
            outputs=tuple(map(self.operand, signature.outputs)),
        )


class _Listed(Generic[_Key]):
    """What a trace lists, and what is added to it."""

    def __init__(self, known: Sequence[_Key]) -> None:
        self.all = list(known)
        self._places = {key: index for index, key in enumerate(known)}

    def place(self, key: _Key) -> int:
        if key not in self._places:
            self._places[key] = len(self.all)
            self.all.append(key)
        return self._places[key]


def _sharded(cut: _Cut) -> StepTrace:
    trace = cut.trace
    update = np.flatnonzero(trace.op_phase == _OPTIMIZER)
    of_update = (trace.category == OPTIMIZER) | (trace.birth >= first_optimizer_operation(trace))
    sizes, size = _Listed(trace.sizes), trace.size.copy()
    for storage in np.flatnonzero(of_update).tolist():
        shape, itemsize = trace.sizes[int(trace.size[storage])]
        narrow = cut.wide and itemsize == _WIDE // 2
        key = cut.shape(shape), _WIDE if narrow else itemsize
        size[storage] = sizes.place(key)
    signatures = _Listed(trace.signatures)
    op_signature = trace.op_signature.copy()
    for old in dict.fromkeys(trace.op_signature[update].tolist()):
        new = cut.signature(trace.signatures[old])
        mine = update[trace.op_signature[update] == old]
        op_signature[mine] = signatures.place(new)
    rows = np.zeros((len(cut.forms), trace.forms.shape[1]), dtype=trace.forms.dtype)
    rows[:, cut.one] = list(cut.forms)
    return replace(
        trace,
        forms=np.concatenate([trace.forms, rows]),
        sizes=tuple(sizes.all),
        size=size,
        signatures=tuple(signatures.all),
        op_signature=op_signature,
    )
