"""A loss that works through its logits in pieces: they are never held whole.

Liger's fused linear cross-entropy cuts a batch's rows into so many pieces that the logits of one
take about what the head's input takes (Hsu et al. 2024, arXiv 2410.10989, section 3.2); Unsloth's
loss does likewise. The operations stay as they are: their time is the stack's own matter. Liger's
losses by preference and reward also sum up a gradient of the head, whether it trains or not.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.operations.registry import kind_of
from planner.trace.table import CATEGORIES, ITEMSIZE, PHASES, Signature, StepTrace

FORWARD, TEMPORARY = PHASES.index("forward"), CATEGORIES.index("temporary")


#: The word for a gradient in the head's own number format.
OWN = "own"


def in_pieces(trace: StepTrace, gradients: tuple[str, ...] = ()) -> StepTrace:
    """The trace with each tensor as large as all logits made as small as the head's input; the same
    trace where no product ends its forward pass. ``gradients``: number formats of those of the head
    that the loss holds, the first until the backward pass begins."""
    return trace.memo.of("loss in pieces", gradients, lambda: _in_pieces(trace, gradients))


def _in_pieces(trace: StepTrace, gradients: tuple[str, ...]) -> StepTrace:
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
    seen = replace(trace, sizes=tuple(sizes), size=size)
    return _with_gradients(seen, head, gradients) if gradients else seen


def _with_gradients(trace: StepTrace, head: int, gradients: tuple[str, ...]) -> StepTrace:
    """With gradients of the head from its product on, until the forward pass ends; the sum of them
    until the first operation behind it."""
    weight = trace.signatures[int(trace.op_signature[head])].inputs[1]
    ended = int(np.flatnonzero(trace.op_phase == FORWARD)[-1])
    kinds = [ITEMSIZE[weight.dtype if name == OWN else name] for name in gradients]
    number, added = len(trace.sizes), len(kinds)
    died = [ended + 1, *[ended] * (added - 1)]

    def longer(own: np.ndarray, values: list[int]) -> np.ndarray:
        return np.concatenate([own, np.array(values, dtype=own.dtype)])

    return replace(
        trace,
        sizes=(*trace.sizes, *((weight.shape[-2:], itemsize) for itemsize in kinds)),
        size=longer(trace.size, list(range(number, number + added))),
        birth=longer(trace.birth, [head] * added),
        death=longer(trace.death, died),
        category=longer(trace.category, [TEMPORARY] * added),
        storage_module=longer(trace.storage_module, [int(trace.op_module[head])] * added),
    )


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
