"""What autograd kept in its day of an operation whose backward pass reads its result alone: its
input as well. Of softmaxes before torch 1.11 (pytorch issues 49600 and 64000, pull request 65242),
of ReLU before torch 1.10 (issue 63027, pull request 63089)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from planner.trace.table import CATEGORIES, PHASES, StepTrace

#: By the word of a stack's rows, the operations; one in place has no other input than its result.
OPERATIONS = {
    "softmax_input": ("aten._softmax.default", "aten._log_softmax.default"),
    "relu_input": ("aten.relu.default",),
}
ACTIVATIONS = CATEGORIES.index("activations")
#: Phases whose results the backward pass reads.
KEEPING = tuple(PHASES.index(name) for name in ("forward", "recompute"))


def kept(trace: StepTrace, operations: Sequence[str]) -> StepTrace:
    """The trace with the input of each such operation alive as long as its result, where nothing
    else keeps it longer."""
    return trace.memo.of("inputs kept", tuple(operations), lambda: _kept(trace, operations))


def _kept(trace: StepTrace, operations: Sequence[str]) -> StepTrace:
    death, category = trace.death.copy(), trace.category.copy()
    for operation in _found(trace, operations):
        signature = trace.signatures[int(trace.op_signature[operation])]
        result = _lasting(trace, np.flatnonzero(trace.birth == operation))
        there = (trace.birth < operation) & (trace.birth >= 0) & (trace.death >= operation)
        given = _of_shape(trace, np.flatnonzero(there), signature.inputs[0].shape)
        if result is None or given is None:
            continue
        until = trace.death[result]
        if until > death[given]:
            death[given] = until
            category[given] = ACTIVATIONS if _is_backward(trace, int(until)) else category[given]
    return replace(trace, death=death, category=category)


def _found(trace: StepTrace, operations: Sequence[str]) -> list[int]:
    named = np.array([signature.op in operations for signature in trace.signatures], dtype=bool)
    found = named[trace.op_signature] & np.isin(trace.op_phase, KEEPING)
    return np.flatnonzero(found).tolist()


def _is_backward(trace: StepTrace, operation: int) -> bool:
    backward = PHASES.index("backward")
    return operation < trace.op_count and int(trace.op_phase[operation]) == backward


def _lasting(trace: StepTrace, storages: np.ndarray) -> int | None:
    """The one that lives longest: an operation makes one result, and scratch space that dies at
    once."""
    if not len(storages):
        return None
    return int(storages[np.argmax(trace.death[storages])])


def _of_shape(trace: StepTrace, storages: np.ndarray, shape: tuple[int, ...]) -> int | None:
    """Of storages whose dimensions are those of an operand, in whatever order, the last one that
    was made: what is read was made for it."""
    wanted = sorted(shape)
    fitting = [
        storage
        for storage in storages.tolist()
        if sorted(trace.sizes[int(trace.size[storage])][0]) == wanted
    ]
    return max(fitting, key=lambda storage: int(trace.birth[storage]), default=None)
