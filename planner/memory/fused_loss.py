"""A loss that works through its logits in pieces: they are never held whole.

Liger's fused linear cross-entropy cuts a batch's rows into so many pieces that the logits of one
take about what the head's input takes (Hsu et al. 2024, arXiv 2410.10989, section 3.2); Unsloth's
loss does likewise. The operations stay as they are: their time is the stack's own matter.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.operations.registry import kind_of
from planner.trace.table import PHASES, Signature, StepTrace

FORWARD = PHASES.index("forward")


def in_pieces(trace: StepTrace) -> StepTrace:
    """The trace with each tensor as large as all logits made as small as the head's input; the same
    trace where no product ends its forward pass."""
    return trace.memo.of("loss in pieces", None, lambda: _in_pieces(trace))


def _in_pieces(trace: StepTrace) -> StepTrace:
    head = _head(trace)
    if head is None:
        return trace
    signature: Signature = trace.signatures[int(trace.op_signature[head])]
    classes = signature.outputs[0].shape[-1]
    piece = signature.inputs[0].shape
    sizes, size = list(trace.sizes), trace.size.copy()
    late = trace.birth >= head
    for index, (shape, itemsize) in enumerate(trace.sizes):
        whole = classes in shape or _is_laid_flat(trace, shape, classes)
        if whole and _grows(trace, shape):
            sizes.append((piece, itemsize))
            size[late & (trace.size == index)] = len(sizes) - 1
    return replace(trace, sizes=tuple(sizes), size=size)


def _is_laid_flat(trace: StepTrace, shape: tuple[int, ...], classes: int) -> bool:
    """Whether the bytes of a storage that a part of is seen are those of whole rows of logits."""
    if len(shape) != 1 or not trace.has_objective:
        return False
    width = int(np.abs(trace.forms[classes]).max())
    form = trace.forms[shape[0]]
    return bool(width > 1 and form.any() and not (form % width).any())


def _head(trace: StepTrace) -> int | None:
    """The forward pass's last product."""
    forward = np.flatnonzero(trace.op_phase == FORWARD)
    products = np.array([kind_of(s.op).model_work for s in trace.signatures], dtype=bool)
    made = forward[products[trace.op_signature[forward]]]
    return int(made[-1]) if made.size else None


def _grows(trace: StepTrace, shape: tuple[int, ...]) -> bool:
    """Whether a size depends on the batch or its lengths, as no weight's does."""
    symbolic = np.array([monomial != "1" for monomial in trace.monomials])
    return bool(trace.forms[list(shape)][:, symbolic].any())
