"""Operations that a CUDA device runs as one kernel and the meta device would not: declared here
with meta kernels and gradients, so that a trace on meta records what the device does.

Shapes and saved tensors follow PyTorch's own CUDA implementations:
``aten/src/ATen/native/transformers/cuda`` for the fused attentions (flash: Dao 2023, arXiv
2307.08691; memory-efficient: Rabe & Staats 2021, arXiv 2112.05682). NF4 lies in
``strategies/nf4.py``, optimizers in ``strategies/optimizers.py``. Import this module only where
torch is wanted.
"""

from __future__ import annotations

import torch

from planner.trace.recorder.kernels import flex_attention, recurrent
from planner.training import log_probabilities
from planner.training.savings import loss_kernels

_LIBRARY = torch.library.Library("planner", "FRAGMENT")
_LIBRARY.define(
    "attention(Tensor q, Tensor k, Tensor v, Tensor? mask, float dropout, bool causal) -> "
    "(Tensor, Tensor)"
)
_LIBRARY.define(
    "attention_backward(Tensor grad, Tensor q, Tensor k, Tensor v, Tensor? mask, Tensor out, "
    "Tensor logsumexp, float dropout, "
    "bool causal, bool mask_grad) -> (Tensor, Tensor, Tensor, Tensor?)"
)


def _like_heads_last(q: torch.Tensor, heads: int, length: int, width: int) -> torch.Tensor:
    """An output as the kernels allocate it: (B, S, H, D) contiguous, seen as (B, H, S, D)."""
    return q.new_empty(q.shape[0], length, heads, width).transpose(1, 2)


def _attention_meta(q, k, v, mask, dropout, causal):
    out = _like_heads_last(q, q.shape[1], q.shape[2], v.shape[3])
    return out, q.new_empty(q.shape[0], q.shape[1], q.shape[2], dtype=torch.float32)


def _attention_backward_meta(grad, q, k, v, mask, out, logsumexp, dropout, causal, mask_grad):
    grads = [_like_heads_last(t, t.shape[1], t.shape[2], t.shape[3]) for t in (q, k, v)]
    return (*grads, torch.empty_like(mask) if mask_grad else None)


def _save_for_attention(ctx, inputs, output):
    q, k, v, mask, ctx.dropout, ctx.causal = inputs
    ctx.save_for_backward(q, k, v, mask, *output)
    ctx.mask_grad = mask is not None and mask.requires_grad


def _attention_gradient(context, grad, _):
    q, k, v, mask, out, logsumexp = context.saved_tensors
    dq, dk, dv, dmask = torch.ops.planner.attention_backward(
        grad, q, k, v, mask, out, logsumexp, context.dropout, context.causal, context.mask_grad
    )
    return dq, dk, dv, dmask, None, None


_LIBRARY.impl("attention", _attention_meta, "Meta")
_LIBRARY.impl("attention_backward", _attention_backward_meta, "Meta")
torch.library.register_autograd(
    "planner::attention", _attention_gradient, setup_context=_save_for_attention, lib=_LIBRARY
)


_LIBRARY.define("rms_norm(Tensor x, int[] shape, Tensor? weight) -> (Tensor, Tensor)")
_LIBRARY.define(
    "rms_norm_backward(Tensor grad, Tensor x, Tensor rstd, Tensor? weight, bool[2] wanted) -> "
    "(Tensor?, Tensor?)"
)


def _rms_norm_meta(x, shape, weight):
    """``_fused_rms_norm``: the output and float32 reciprocal root mean squares, one a row."""
    rows = list(x.shape[: x.dim() - len(shape)]) + [1] * len(shape)
    return torch.empty_like(x, memory_format=torch.contiguous_format), x.new_empty(
        rows, dtype=torch.float32
    )


def _rms_norm_backward_meta(grad, x, rstd, weight, wanted):
    return (
        torch.empty_like(x, memory_format=torch.contiguous_format) if wanted[0] else None,
        torch.empty_like(weight) if weight is not None and wanted[1] else None,
    )


def _save_for_rms_norm(ctx, inputs, output):
    x, _, weight = inputs
    ctx.save_for_backward(x, weight, output[1])
    ctx.wanted = [x.requires_grad, weight is not None and weight.requires_grad]


def _rms_norm_gradient(context, grad, _):
    x, weight, rstd = context.saved_tensors
    dx, dweight = torch.ops.planner.rms_norm_backward(grad, x, rstd, weight, context.wanted)
    return dx, None, dweight


_LIBRARY.impl("rms_norm", _rms_norm_meta, "Meta")
_LIBRARY.impl("rms_norm_backward", _rms_norm_backward_meta, "Meta")
torch.library.register_autograd(
    "planner::rms_norm", _rms_norm_gradient, setup_context=_save_for_rms_norm, lib=_LIBRARY
)


def scratch(op: str, tensors: list[torch.Tensor]) -> list[tuple[tuple[int, ...], int]]:
    """What an operation allocates inside itself and frees before it returns: (shape, bytes an
    element) of each piece.

    Flash attention's backward keeps a float32 accumulator of dq over lengths rounded up to 128 and
    head sizes to 32, the row sums, and, where heads share keys (grouped queries), full-size dk and
    dv before they are summed (``flash_api.cpp``, ``mha_bwd``). With a mask the memory-efficient
    kernel runs: a row-sum and a float32 dq. ``_safe_softmax`` is a softmax, a comparison with minus
    infinity, and a selection into a new tensor (``attention.cpp``). ``masked_scatter`` lays its
    mask out in full and adds it up in 64 bits (``IndexKernel.cpp`` and ``.cu``). Fused losses:
    ``training/savings/loss_kernels.py``.
    """
    if op == "aten._safe_softmax.default":
        return [(tuple(tensors[0].shape), tensors[0].element_size()), (tuple(tensors[0].shape), 1)]
    if op == "aten.masked_scatter.default":  # the expanded mask and where its places begin
        return [(tuple(tensors[0].shape), 1), (tuple(tensors[0].shape), 8)]
    if op == "aten._ctc_loss_backward.Tensor":  # log β, as large as the log α that it reads
        return [(tuple(tensors[-1].shape), tensors[-1].element_size())]
    if op.startswith("planner.loss_"):
        return loss_kernels.scratch(op, tensors)
    if op.startswith("planner.rnn"):
        return recurrent.scratch_of(tensors, "backward" in op)
    if op.startswith(("planner.selective", "planner.chunked")):
        return log_probabilities.scratch_of(op, tensors)
    if op == "planner.flex_attention_backward.default":
        return flex_attention.scratch(tensors)
    if op != "planner.attention_backward.default":
        return []
    q, k = tensors[1], tensors[2]
    batch, heads, length, width = q.shape
    pieces = [((batch, heads, length), 4), ((batch, heads, length, -(-width // 32) * 32), 4)]
    if k.shape[1] != heads:
        pieces += [((batch, k.shape[2], heads, width), q.element_size())] * 2
    return pieces
