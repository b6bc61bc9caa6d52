"""Experts whose weights are stored in few bits, on meta, one matrix an expert: as linear layers of
their own have it (transformers before 5, loaders of one's own), and as quantised checkpoints hold
them."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any

import torch

from planner.models.quantization.stored import Quantization
from planner.training.quantised.kernels import dequantised
from planner.training.quantised.layers import TYPES


class StoredExperts(torch.nn.Module):
    """A three-dimensional weight as the tensors of its experts; ``transposed``: the inputs come
    first."""

    def __init__(
        self,
        weight: torch.Tensor,
        quantization: Quantization,
        compute_dtype: torch.dtype,
        *,
        transposed: bool,
    ):
        super().__init__()
        self.experts = int(weight.shape[0])
        self.outputs, self.inputs = weight.shape[1:][::-1] if transposed else weight.shape[1:]
        self.compute_dtype, self.elements = compute_dtype, weight.numel()
        self.names = []
        for name, shape, kind in quantization.stored(self.outputs, self.inputs):
            self.names.append(name)
            whole = torch.empty((self.experts, *shape), dtype=TYPES[kind], device="meta")
            setattr(self, name, torch.nn.Parameter(whole, requires_grad=False))

    def one(self, expert: int) -> torch.Tensor:
        """An expert's matrix: outputs × inputs."""
        stored = {name: getattr(self, name)[expert] for name in self.names}
        return dequantised(stored, [self.outputs, self.inputs], self.compute_dtype)

    def last(self) -> torch.Tensor:
        """Every expert's matrix is made in turn and given back before the next; the last one's
        stands for all in the product over the rows of all experts."""
        for expert in range(self.experts - 1):
            self.one(expert)
        return self.one(self.experts - 1)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, rows: torch.Tensor, weight: StoredExperts) -> torch.Tensor:
        context.weight = weight
        return torch.nn.functional.linear(rows, weight.last().to(rows.dtype))

    @staticmethod
    def backward(context: Any, *grads: torch.Tensor) -> Any:
        return torch.matmul(grads[0], context.weight.last().to(grads[0].dtype)), None


def _grouped_linear(
    input: torch.Tensor,  # noqa: A002  (transformers' names)
    weight: StoredExperts | torch.Tensor,
    offs: torch.Tensor,
    bias: torch.Tensor | None = None,
    is_transposed: bool = False,
) -> torch.Tensor:
    """transformers' ``_grouped_linear`` over stored experts; over plain ones its own."""
    if not isinstance(weight, StoredExperts):
        from transformers.integrations import moe

        own: Any = moe
        return own._grouped_linear(input, weight, offs, bias=bias, is_transposed=is_transposed)
    out: Any = _Product.apply(input.to(weight.compute_dtype), weight)
    out = out.to(input.dtype)
    return out if bias is None else out + bias


def store_experts(
    module: Any, stored: Mapping[str, Quantization], compute_dtype: torch.dtype
) -> None:
    """Put stand-ins in the place of a mixture's weights, and its grouped forward pass over them, in
    place. ``stored``: weight → how."""
    from transformers.integrations import moe

    own: Any = moe.grouped_mm_experts_forward
    scope = {**own.__globals__, "_grouped_linear": _grouped_linear}
    run = types.FunctionType(own.__code__, scope, own.__name__, own.__defaults__, own.__closure__)
    turned = bool(getattr(module, "is_transposed", False))
    for name, quantization in stored.items():
        weight = getattr(module, name)
        delattr(module, name)
        setattr(module, name, StoredExperts(weight, quantization, compute_dtype, transposed=turned))
    module.forward = types.MethodType(run, module)
