"""The loss over a vocabulary without all logits at once, as kernels written by hand compute it.

Source: Liger-Kernel's ``fused_linear_cross_entropy`` (Hsu et al. 2024, arXiv 2410.10989; its
``ops/fused_linear_cross_entropy.py`` of August 2026): the head's product, the loss and both
gradients are computed in the forward pass, chunk after chunk of the tokens, each chunk's gradient
in the place of its logits. Declared here as the operations that read and write what those chunks
read and write; the sizes of what one chunk holds are recorded as they are.
"""

from __future__ import annotations

import torch

_LIBRARY = torch.library.Library("planner", "FRAGMENT")
_LIBRARY.define("loss_logits(Tensor hidden, Tensor weight) -> (Tensor, Tensor)")
_LIBRARY.define("loss_in_place(Tensor hidden, Tensor weight, Tensor(a!) chunk) -> ()")
_LIBRARY.define("loss_hidden_gradient(Tensor hidden, Tensor weight) -> Tensor")
_LIBRARY.define("loss_weight_gradient(Tensor hidden, Tensor weight) -> Tensor")


def chunk_rows(rows: int, vocabulary: int, width: int) -> int:
    """Tokens of a chunk: so many that its logits take about as much as all hidden states, rounded
    up to a power of two."""
    chunks = -(-vocabulary // width)
    return 1 << (-(-rows // chunks) - 1).bit_length()


def _logits(hidden, weight):
    rows = chunk_rows(hidden.shape[0], *weight.shape)
    return (
        hidden.new_empty((rows, weight.shape[0])),
        hidden.new_empty(hidden.shape[:1], dtype=torch.float32),
    )


_LIBRARY.impl("loss_logits", _logits, "Meta")
_LIBRARY.impl("loss_in_place", lambda hidden, weight, chunk: None, "Meta")
_LIBRARY.impl("loss_hidden_gradient", lambda hidden, weight: torch.empty_like(hidden), "Meta")
_LIBRARY.impl("loss_weight_gradient", lambda hidden, weight: torch.empty_like(weight), "Meta")


class FusedLoss(torch.autograd.Function):
    """Mean loss of ``hidden`` [tokens, width] under a head ``weight`` [vocabulary, width]."""

    @staticmethod
    def forward(ctx, hidden, weight):  # pyright: ignore[reportIncompatibleMethodOverride]
        operations = torch.ops.planner
        chunk, losses = operations.loss_logits(hidden, weight)
        operations.loss_in_place(hidden, weight, chunk)
        gradients = [operations.loss_hidden_gradient(hidden, weight), None]
        if ctx.needs_input_grad[1]:
            gradients[1] = operations.loss_weight_gradient(hidden, weight)
        del chunk
        ctx.save_for_backward(*gradients)
        return losses.sum()

    @staticmethod
    def backward(ctx, gradient):  # pyright: ignore[reportIncompatibleMethodOverride]
        """The gradients are there; the scale of the loss is multiplied in, in place."""
        gradients = ctx.saved_tensors
        for tensor in gradients:
            if tensor is not None:
                tensor.mul_(gradient)
        return tuple(gradients)


def scratch(op: str, tensors: list[torch.Tensor]) -> list[tuple[tuple[int, ...], int]]:
    """What the chunks make besides, (shape, bytes an element) of each piece: the head's weight in
    the type of the products where that is not its own, and the gradient of the weight, in that type
    and in float32, before it is added up."""
    hidden, weight = tensors[:2]
    shape, own, products = tuple(weight.shape), weight.element_size(), hidden.element_size()
    cast = [(shape, products)] if own != products else []
    if op == "planner.loss_weight_gradient.default":
        return [(shape, products), (shape, 4)]
    return cast if op != "planner.loss_in_place.default" else []
