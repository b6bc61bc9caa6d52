"""FlexAttention: the kernel that torch.compile writes for a model that asks for ``flex_attention``.

It saves what flash attention saves. Its backward pass sums gradient times result by rows and then
writes dq, dk and dv, the latter with the heads that keys have, without a float32 accumulator
(``torch/_inductor/kernel/flex``, torch 2.13). What a query may see is a ``BlockMask`` of a few
numbers a block of 128 positions, so no mask is laid out; it knows no dropout. Import this module
only where torch is wanted.
"""

from __future__ import annotations

from typing import Any

import torch

from planner.errors import FieldName, ModelError

#: ``torch.nn.attention.flex_attention``: narrower heads are refused.
NARROWEST = 16

_LIBRARY = torch.library.Library("planner", "FRAGMENT")
_LIBRARY.define("flex_attention(Tensor q, Tensor k, Tensor v, bool causal) -> (Tensor, Tensor)")
_LIBRARY.define(
    "flex_attention_backward(Tensor grad, Tensor q, Tensor k, Tensor v, Tensor out, "
    "Tensor logsumexp, bool causal) -> (Tensor, Tensor, Tensor)"
)


def flex_attention(
    query: Any, key: Any, value: Any, dropout: float, *, causal: bool
) -> torch.Tensor:
    """The result for tensors (B, H, S, D). Raises ModelError for what the kernel does not take."""
    reason = None
    if dropout:
        reason = "drops attention's probabilities, which flex attention cannot"
    elif any(t.dim() != 4 for t in (query, key, value)):
        reason = "attends over tensors that are not (batch, heads, positions, width)"
    elif query.shape[-1] < NARROWEST:
        reason = f"has heads of {query.shape[-1]}, and flex attention needs {NARROWEST} or more"
    if reason is not None:
        raise ModelError(
            f"the model {reason}",
            where=FieldName("attention"),
            mend=f"Ask for {FieldName('attention')} sdpa",
        )
    return torch.ops.planner.flex_attention(query, key, value, causal)[0]


def scratch(tensors: list[torch.Tensor]) -> list[tuple[tuple[int, ...], int]]:
    """What the backward pass allocates and frees: the row sums in float32."""
    return [(tuple(tensors[1].shape[:3]), 4)]


def _heads_last(like: torch.Tensor, width: int) -> torch.Tensor:
    batch, heads, length, _ = like.shape
    return like.new_empty(batch, length, heads, width).transpose(1, 2)


def _forward(q, k, v, causal):
    return _heads_last(q, v.shape[3]), q.new_empty(q.shape[:3], dtype=torch.float32)


def _backward(grad, q, k, v, out, logsumexp, causal):
    return tuple(_heads_last(t, t.shape[3]) for t in (q, k, v))


def _save(ctx, inputs, output):
    q, k, v, ctx.causal = inputs
    ctx.save_for_backward(q, k, v, *output)


def _gradient(context, grad, _):
    grads = torch.ops.planner.flex_attention_backward(grad, *context.saved_tensors, context.causal)
    return (*grads, None)


_LIBRARY.impl("flex_attention", _forward, "Meta")
_LIBRARY.impl("flex_attention_backward", _backward, "Meta")
torch.library.register_autograd(
    "planner::flex_attention", _gradient, setup_context=_save, lib=_LIBRARY
)
