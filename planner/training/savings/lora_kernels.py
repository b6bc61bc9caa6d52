"""Adapters as Unsloth runs them: a layer's product and its adapter's in one function, which keeps
the input alone, and a feed-forward layer of three such that keeps its input and the two halves of
its gate.

Source: unslothai/unsloth at 015bdef, ``kernels/fast_lora.py`` (LoRA_MLP, LoRA_W) and
``kernels/utils.py`` (matmul_lora, fast_dequantize): weights in few bits are dequantised for each
product, adapters are cast to the input's type.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch


@dataclass
class Adapted:
    """One adapted linear layer: its plain layer, ``a`` [rank, inputs], ``b`` [outputs, rank] and
    their scale."""

    base: Any
    a: torch.Tensor
    b: torch.Tensor
    scale: float

    def weight(self, dtype: torch.dtype) -> torch.Tensor:
        """[outputs, inputs]."""
        if hasattr(self.base, "dequantised"):
            return self.base.dequantised().to(dtype)
        return self.base.weight.to(dtype)


def adapted(layer: Any) -> Adapted | None:
    """Of PEFT's layer with one plain adapter and no dropout, and without a bias; else None, and the
    layer runs as PEFT's."""
    names = list(getattr(layer, "active_adapters", ()))
    if len(names) != 1 or not hasattr(layer, "lora_A") or names[0] not in layer.lora_A:
        return None
    (name,) = names
    drops = not isinstance(layer.lora_dropout[name], torch.nn.Identity)
    special = name in getattr(layer, "lora_variant", {}) or layer.base_layer.bias is not None
    # AdaLoRA's three matrices are no layers
    if drops or special or not isinstance(layer.lora_A[name], torch.nn.Linear):
        return None
    a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
    return Adapted(layer.base_layer, a, b, layer.scaling[name])


def product(x: torch.Tensor, layer: Adapted) -> torch.Tensor:
    """``matmul_lora`` of rows [tokens, inputs]: [tokens, outputs]."""
    weight = layer.weight(x.dtype)
    out = torch.matmul(x, weight.t())
    del weight
    inner = torch.matmul(x, layer.a.t().to(x.dtype))
    return out.addmm_(inner, layer.b.t().to(x.dtype), alpha=layer.scale)


def _back(gradient: torch.Tensor, layer: Adapted, out: torch.Tensor | None = None) -> torch.Tensor:
    """The gradient of the input, where ``out`` is not its place."""
    weight = layer.weight(gradient.dtype)
    found = torch.matmul(gradient, weight) if out is None else torch.mm(gradient, weight, out=out)
    del weight
    return _added(gradient, layer, found)


def _added(gradient: torch.Tensor, layer: Adapted, found: torch.Tensor) -> torch.Tensor:
    inner = torch.matmul(gradient, layer.b.to(gradient.dtype))
    return found.addmm_(inner, layer.a.to(gradient.dtype), alpha=layer.scale)


def _adapters(x: torch.Tensor, gradient: torch.Tensor, layer: Adapted) -> list[torch.Tensor]:
    """Gradients of ``a`` and ``b``."""
    dtype = x.dtype
    a, b = layer.a.to(dtype), layer.b.to(dtype)
    of_a, of_b = torch.empty_like(a), torch.empty_like(b)
    of_a.addmm_((gradient @ b).t(), x, alpha=layer.scale, beta=0)
    of_b.addmm_(gradient.t(), x @ a.t(), alpha=layer.scale, beta=0)
    return [of_a.to(layer.a.dtype), of_b.to(layer.b.dtype)]


class LoraLinear(torch.autograd.Function):
    """``LoRA_W``: one adapted layer."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, layer: Adapted, a, b) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.layer, ctx.shape = layer, x.shape
        rows = x.reshape(-1, x.shape[-1])
        ctx.save_for_backward(rows)
        out = product(rows, layer)
        return out.view(*x.shape[:-1], out.shape[-1])

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        (x,) = ctx.saved_tensors
        rows = gradient.reshape(-1, gradient.shape[-1])
        own = _adapters(x, rows, ctx.layer)
        found = _back(rows, ctx.layer) if ctx.needs_input_grad[0] else None
        return None if found is None else found.view(ctx.shape), None, *own


class LoraFeedForward(torch.autograd.Function):
    """``LoRA_MLP``: what the gate makes is computed again in the backward pass, in the place of its
    gradient; the gradient of the input is written in the input's place."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, layers: tuple, *_: torch.Tensor) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        gate_proj, up_proj, down_proj = layers
        rows = x.reshape(-1, x.shape[-1])
        gate, up = product(rows, gate_proj), product(rows, up_proj)
        out = product(torch.ops.planner.kernel_gate(gate, up), down_proj)
        ctx.layers, ctx.shape = layers, x.shape
        ctx.save_for_backward(rows, gate, up)
        return out.view(*x.shape[:-1], out.shape[-1])

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, gate, up = ctx.saved_tensors
        gate_proj, up_proj, down_proj = ctx.layers
        rows = gradient.reshape(-1, gradient.shape[-1])
        hidden = _back(rows, down_proj)
        torch.ops.planner.kernel_gate_again(hidden, gate, up)
        own = [
            *_adapters(x, gate, gate_proj),
            *_adapters(x, up, up_proj),
            *_adapters(hidden, rows, down_proj),
        ]
        found = _back(up, up_proj, out=x)
        found.addmm_(gate, gate_proj.weight(x.dtype))
        _added(gate, gate_proj, found)
        return found.view(ctx.shape), None, *own
