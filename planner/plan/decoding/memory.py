"""What an evaluation holds on a device beside the weights."""

from __future__ import annotations

from functools import cache

import numpy as np

from planner.operations.registry import kind_of
from planner.plan.decoding.cut import inference
from planner.trace.table import CATEGORIES, ITEMSIZE, PHASES, Operand, Signature, StepTrace

FORWARD = PHASES.index("forward")
#: What stays on a device between two steps; gradients are given back.
STAYS = tuple(CATEGORIES.index(name) for name in ("weights", "optimizer"))


def staying_bytes(trace: StepTrace, dims: np.ndarray) -> float:
    """Bytes that a step leaves where it finds them: weights, and what the optimizer holds."""
    stays = (trace.birth < 0) & np.isin(trace.category, STAYS)
    return float(trace.storage_bytes(dims)[trace.size[stays]].sum())


def forward_bytes(trace: StepTrace, dims: np.ndarray) -> float:
    """Bytes that a forward pass without gradients needs beside the weights at the least: its
    results, or what its widest operation reads and writes, whichever is more."""
    return max(result_bytes(trace, dims), _widest_bytes(trace, dims))


def _widest_bytes(trace: StepTrace, dims: np.ndarray) -> float:
    """Of the operation with most bytes in its operands, those that grow with the batch."""
    cut = inference(trace)
    columns = [i for i, monomial in enumerate(trace.monomials) if "B" in monomial]
    grows = (trace.forms[:, columns] != 0).any(axis=1)

    @cache  # operations have few operands of their own
    def size(operand: Operand) -> float:
        there = [d for i, d in enumerate(operand.shape) if i not in operand.expanded]
        if not grows[there].any():
            return 0.0
        each = ITEMSIZE[operand.dtype] * operand.count
        return float(each * np.prod(dims[there], dtype=np.float64))

    used = (cut.signatures[index] for index in set(cut.op_signature.tolist()))
    return max((sum(map(size, _operands(s))) for s in used), default=0.0)


def _operands(signature: Signature) -> tuple[Operand, ...]:
    """What an operation reads and writes; what works in place writes what it reads."""
    name = signature.op.split(".")[1]
    return signature.inputs if name.endswith("_") else (*signature.inputs, *signature.outputs)


def result_numbers(trace: StepTrace, dims: np.ndarray) -> float:
    """Numbers that the last product of a forward pass makes: the logits."""
    last = _last_product(trace)
    if last is None:
        return 0.0
    shape = list(trace.signatures[trace.op_signature[last]].outputs[0].shape)
    return float(np.prod(dims[shape], dtype=np.float64))


def result_bytes(trace: StepTrace, dims: np.ndarray) -> float:
    """Bytes of what the last product of a forward pass makes, and of what the loss makes of it:
    logits, their float32 copy and their logarithms, which live at once when the pass ends."""
    last = _last_product(trace)
    if last is None:
        return 0.0
    ended = np.flatnonzero(trace.op_phase == FORWARD)[-1]
    born = (trace.birth >= last) & (trace.birth <= ended)
    sizes = trace.storage_bytes(dims)[trace.size[born]]
    if not trace.has_objective:
        return float(sizes.sum())
    # a reference's pass follows the last product: what has died before it ends is not there
    alive = np.zeros(ended - last + 2)
    np.add.at(alive, trace.birth[born] - last, sizes)
    np.add.at(alive, np.minimum(trace.death[born], ended) - last + 1, -sizes)
    return float(alive.cumsum().max())


def _last_product(trace: StepTrace) -> int | None:
    """The operation's place; None where a forward pass has none."""
    products = np.array([kind_of(s.op).model_work for s in trace.signatures], dtype=bool)
    forward = np.flatnonzero(trace.op_phase == FORWARD)
    made = forward[products[trace.op_signature[forward]]]
    return int(made[-1]) if made.size else None
