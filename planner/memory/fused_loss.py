"""A loss that works through its logits in pieces: they are never held whole.

Liger's fused linear cross-entropy cuts a batch's rows into so many pieces that the logits of one
take about what the head's input takes (Hsu et al. 2024, arXiv 2410.10989, section 3.2); Unsloth's
loss does likewise. The operations stay as they are: their time is the stack's own matter. Liger's
losses by preference and reward also sum up a gradient of the head, whether it trains or not. TRL's
own (since 2026-10) works on tiles of the logits, made again in the backward pass, whose gradients
are summed up in float32 (huggingface trl 1.16.0, trl/kernels/chunked_logprob.py).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.operations.registry import kind_of
from planner.trace.table import CATEGORIES, ITEMSIZE, PHASES, Signature, StepTrace

FORWARD, TEMPORARY = PHASES.index("forward"), CATEGORIES.index("temporary")


#: The word for a gradient in the head's own number format.
OWN = "own"
#: TRL's ``TOKEN_CHUNK_SIZE`` and ``_CHUNKED_LOGPROB_CHUNK_SIZE``: tokens and vocabulary of a tile,
#: which is no larger for fewer of them.
TILE = (4096, 32768)
#: Bytes of a number of a tile under autocast, and of what is summed up.
TILE_BYTES, SUM_BYTES = 2, 4


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


def in_tiles(trace: StepTrace, trains: bool) -> StepTrace:
    """As ``in_pieces``, beside a tile in the forward pass and one in the backward pass; where the
    head ``trains``, its gradient is there in float32 before it is cast."""
    return trace.memo.of("loss in tiles", trains, lambda: _in_tiles(trace, trains))


def _in_tiles(trace: StepTrace, trains: bool) -> StepTrace:
    head = _head(trace)
    if head is None:
        return trace
    seen, rows = in_pieces(trace), np.zeros((2, trace.forms.shape[1]), trace.forms.dtype)
    rows[:, trace.monomials.index("1")] = TILE
    tile = (len(trace.forms), len(trace.forms) + 1)
    ended = int(np.flatnonzero(trace.op_phase == FORWARD)[-1])
    weight = trace.signatures[int(trace.op_signature[head])].inputs[1].shape[-2:]
    added: list[tuple[tuple[int, ...], int, int, int]] = [
        (tile, TILE_BYTES, head, head),
        (tile, TILE_BYTES, ended + 1, ended + 1),
    ]
    if trains:
        added.append((weight, SUM_BYTES, ended + 1, ended + 1))
    wider = replace(seen, forms=np.concatenate([trace.forms, rows]))
    return _with(wider, head, added)


def _with_gradients(trace: StepTrace, head: int, gradients: tuple[str, ...]) -> StepTrace:
    """With gradients of the head from its product on, until the forward pass ends; the sum of them
    until the first operation behind it."""
    weight = trace.signatures[int(trace.op_signature[head])].inputs[1]
    ended = int(np.flatnonzero(trace.op_phase == FORWARD)[-1])
    kinds = [ITEMSIZE[weight.dtype if name == OWN else name] for name in gradients]
    died = [ended + 1, *[ended] * (len(kinds) - 1)]
    shape = weight.shape[-2:]
    held = zip(kinds, died, strict=True)
    return _with(trace, head, [(shape, itemsize, head, death) for itemsize, death in held])


def _with(
    trace: StepTrace, head: int, added: list[tuple[tuple[int, ...], int, int, int]]
) -> StepTrace:
    """With storages: (shape, bytes of a number, birth, death), all of the head's module."""
    number = len(trace.sizes)

    def longer(own: np.ndarray, values: list[int]) -> np.ndarray:
        return np.concatenate([own, np.array(values, dtype=own.dtype)])

    return replace(
        trace,
        sizes=(*trace.sizes, *((shape, itemsize) for shape, itemsize, *_ in added)),
        size=longer(trace.size, list(range(number, number + len(added)))),
        birth=longer(trace.birth, [birth for *_, birth, _ in added]),
        death=longer(trace.death, [death for *_, death in added]),
        category=longer(trace.category, [TEMPORARY] * len(added)),
        storage_module=longer(trace.storage_module, [int(trace.op_module[head])] * len(added)),
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
