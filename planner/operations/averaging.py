"""An average of the weights that train, beside them: what it runs after an update, and what it
holds.

``loop``: diffusers' ``EMAModel`` (``training_utils.py``), one weight after another; ``list``: the
same over lists (``foreach=True``); ``host``: the same with its averages in the host's memory
between two steps (``offload_ema``), copied here and back; ``lerp``: timm's ``ModelEmaV3`` and
torchvision's and torch's ``AveragedModel``, one operation over all in place.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.operations.clipping import by_format, operands
from planner.trace.table import CATEGORIES, ITEMSIZE, Operand, Signature, StepTrace

LOOP, LIST, HOST, LERP = HOWS = ("loop", "list", "host", "lerp")
_GRADIENTS = CATEGORIES.index("gradients")


def trained(trace: StepTrace) -> tuple[Operand, ...]:
    """The weights that train, equal ones together: as their gradients are."""
    there = (trace.category == _GRADIENTS) & (trace.birth >= 0)
    return operands(trace, trace.size[there].tolist())


def averaging(trace: StepTrace, how: str) -> list[Signature]:
    """The operations of one update of the averages."""
    weights = trained(trace)
    if how in (LOOP, HOST):
        looped = [s for weight in weights for s in _one(replace(weight, count=1)) * weight.count]
        return looped if how == LOOP else [*_copies(weights), *looped, *_copies(weights)]
    found: list[Signature] = []
    for each in by_format(weights).values():
        if how == LERP:
            found.append(Signature("aten._foreach_lerp_.Scalar", (*each, *each), ()))
        else:
            found.append(Signature("aten._foreach_sub.List", (*each, *each), each))
            found.append(Signature("aten._foreach_sub_.List", (*each, *each), ()))
    return found


def transient(trace: StepTrace, how: str) -> list[tuple[tuple[int, ...], int, int]]:
    """(shape, bytes an element, how often) of what is alive at once during an update: the
    differences of one weight, or of all; all averages where they come from the host."""
    every = [(w.shape, _itemsize(w), w.count) for w in trained(trace)]
    largest = max(every, key=lambda one: _bytes(trace, one), default=None)
    two = [] if largest is None else [(largest[0], largest[1], 2)]
    return {LOOP: two, LIST: every, HOST: [*every, *two], LERP: []}[how]


def resident(trace: StepTrace, how: str) -> list[tuple[tuple[int, ...], int, int]]:
    """(shape, bytes an element, how often) of what stays on the device."""
    if how == HOST:
        return []
    return [(w.shape, _itemsize(w), w.count) for w in trained(trace)]


def _one(weight: Operand) -> list[Signature]:
    """The difference, its share, and that taken off."""
    pair = (weight, weight)
    return [
        Signature("aten.sub.Tensor", pair, (weight,)),
        Signature("aten.mul.Tensor", (weight,), (weight,)),
        Signature("aten.sub_.Tensor", pair, (weight,)),
    ]


def _copies(weights: tuple[Operand, ...]) -> list[Signature]:
    """Each weight's average on its way, while nothing else runs."""
    return [
        Signature("planner.upload.default", (replace(weight, count=1),), ())
        for weight in weights
        for _ in range(weight.count)
    ]


def _itemsize(weight: Operand) -> int:
    return ITEMSIZE[weight.dtype]


def _bytes(trace: StepTrace, one: tuple[tuple[int, ...], int, int]) -> int:
    constant = trace.monomials.index("1")
    return one[1] * int(np.prod(trace.forms[list(one[0]), constant], dtype=np.int64))
