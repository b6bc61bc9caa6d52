"""Kernels written by hand for what stands between a block's products: RMSNorm, the gate of a
feed-forward layer, rotary embeddings.

Source: Liger-Kernel (Hsu et al. 2024, arXiv 2410.10989; ``ops/{rms_norm,swiglu,geglu,rope}.py`` at
ead96b6) and Unsloth's (``kernels/{rms_layernorm,swiglu,rope_embedding}.py`` at 015bdef), which keep
the same: a norm its input and one number a row, a gate its two inputs, an embedding its table.
Gradients are written in the place of what is no longer needed. Declared here as operations that
read and write what those kernels do; the partial sums of a norm's weight, one row a multiprocessor,
are left out.
"""

from __future__ import annotations

from typing import Any

import torch

_LIBRARY = torch.library.Library("planner", "FRAGMENT")
_LIBRARY.define("kernel_norm(Tensor x, Tensor weight) -> (Tensor, Tensor)")
_LIBRARY.define(
    "kernel_norm_backward(Tensor(a!) gradient, Tensor x, Tensor weight, Tensor rows) -> Tensor"
)
_LIBRARY.define(
    "kernel_norm_frozen(Tensor(a!) gradient, Tensor x, Tensor weight, Tensor scales) -> ()"
)
_LIBRARY.define("kernel_gate(Tensor gate, Tensor up) -> Tensor")
_LIBRARY.define("kernel_gate_backward(Tensor gradient, Tensor(a!) gate, Tensor(b!) up) -> ()")
_LIBRARY.define("kernel_gate_again(Tensor(a!) gradient, Tensor(b!) gate, Tensor(c!) up) -> ()")
_LIBRARY.define(
    "kernel_rotation(Tensor(a!) q, Tensor(b!) k, Tensor cos, Tensor sin, bool back) -> ()"
)


def _norm(x: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.empty_like(x), x.new_empty(x.shape[:1], dtype=torch.float32)


_LIBRARY.impl("kernel_norm", _norm, "Meta")
_LIBRARY.impl("kernel_norm_backward", lambda g, x, weight, rows: torch.empty_like(weight), "Meta")
_LIBRARY.impl("kernel_norm_frozen", lambda g, x, weight, rows: None, "Meta")
_LIBRARY.impl("kernel_gate", lambda gate, up: torch.empty_like(gate), "Meta")
_LIBRARY.impl("kernel_gate_backward", lambda g, gate, up: None, "Meta")
_LIBRARY.impl("kernel_gate_again", lambda g, gate, up: None, "Meta")
_LIBRARY.impl("kernel_rotation", lambda q, k, cos, sin, back: None, "Meta")


class Norm(torch.autograd.Function):
    """RMSNorm of ``x`` [..., width] by ``weight`` [width]. ``apart``: the gradient of its output is
    needed elsewhere, too, as of Gemma's norms that follow each other."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, apart: bool) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.apart = apart
        rows = x.reshape(-1, x.shape[-1])
        out, scale = torch.ops.planner.kernel_norm(rows, weight)
        ctx.save_for_backward(rows, weight, scale)
        return out.view(x.shape)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        rows, weight, scale = ctx.saved_tensors
        own = gradient.reshape(rows.shape).contiguous()
        own = torch.empty_like(own) if ctx.apart else own
        if ctx.needs_input_grad[1]:
            found = torch.ops.planner.kernel_norm_backward(own, rows, weight, scale)
        else:
            found = torch.ops.planner.kernel_norm_frozen(own, rows, weight, scale)
        return own.view(gradient.shape), found, None


class Gate(torch.autograd.Function):
    """The activation of ``gate`` times ``up``, both [..., width]."""

    @staticmethod
    def forward(ctx: Any, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        gate, up = gate.contiguous(), up.contiguous()
        ctx.save_for_backward(gate, up)
        return torch.ops.planner.kernel_gate(gate, up)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        gate, up = ctx.saved_tensors
        torch.ops.planner.kernel_gate_backward(gradient.contiguous(), gate, up)
        return gate, up


class Rotation(torch.autograd.Function):
    """Queries [batch, heads, tokens, width] and keys turned by their places, in their own place."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, q: torch.Tensor, k: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        ctx.save_for_backward(cos, sin)
        return _rotated(q, k, cos, sin, back=False)

    @staticmethod
    def backward(ctx: Any, dq: torch.Tensor, dk: torch.Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return *_rotated(dq, dk, *ctx.saved_tensors, back=True), None, None


def _rotated(
    q: torch.Tensor, k: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, *, back: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """As a view of tokens before heads, which linear layers give; copied where it is not one."""
    by_token = [t.transpose(1, 2).contiguous() for t in (q, k)]
    torch.ops.planner.kernel_rotation(*by_token, cos, sin, back)
    return by_token[0].transpose(1, 2), by_token[1].transpose(1, 2)
