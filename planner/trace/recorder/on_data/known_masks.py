"""Selections by a mask whose size meta tensors cannot tell, but the tensors beside it can: image
features that are laid into their places of a sequence, rows that a full mask takes.

CUDA makes indices of a mask (``nonzero``, which the host waits for) and gathers by them; here the
indices are an uninitialised tensor of the known size. Import this module only where torch is
wanted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch


class ScatterOfKnown(torch.autograd.Function):
    """``tensor.masked_scatter(mask, source)`` where the mask takes all of ``source``. ``waits`` is
    called where the host waits for the device: in the backward pass, for the mask's indices."""

    @staticmethod
    def forward(
        ctx: Any,
        tensor: torch.Tensor,
        mask: torch.Tensor,
        source: torch.Tensor,
        waits: Callable[[], None],
    ) -> torch.Tensor:
        ctx.save_for_backward(mask)
        ctx.shape, ctx.waits = source.shape, waits
        return torch.ops.aten.masked_scatter(tensor, mask, source)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (grad,), (mask,) = grads, ctx.saved_tensors
        of_tensor = grad.masked_fill(mask, 0) if ctx.needs_input_grad[0] else None
        of_source = None
        if ctx.needs_input_grad[2]:
            picked = taken(grad, mask.expand_as(grad), math.prod(ctx.shape), ctx.waits)
            of_source = picked.view(ctx.shape)
        return of_tensor, None, of_source, None


def taken(
    tensor: torch.Tensor, mask: torch.Tensor, count: int, waits: Callable[[], None]
) -> torch.Tensor:
    """What a mask over the first dimensions takes: [count, *rest]. ``count``: true places of it."""
    return torch.ops.aten.index(tensor, list(indices_of(mask, count, waits)))


def indices_of(
    mask: torch.Tensor, count: int, waits: Callable[[], None]
) -> tuple[torch.Tensor, ...]:
    """Of each dimension of a mask where its ``count`` true places are: int64 [count]."""
    waits()
    return torch.empty(mask.dim(), count, dtype=torch.int64, device=mask.device).unbind(0)
