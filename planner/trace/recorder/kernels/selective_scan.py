"""The kernels of mamba-ssm and causal-conv1d, which state-space models run on CUDA where
transformers' code loops over tokens: declared here with meta kernels and gradients.

Shapes, saved tensors and what is computed twice follow state-spaces/mamba at e9594ce1c7:
``csrc/selective_scan/selective_scan.cpp`` and ``MambaInnerFn`` of
``mamba_ssm/ops/selective_scan_interface.py``. The states between chunks are those of one chunk of
2,048 tokens; a longer text keeps one more set a chunk, less than 3 % of what a layer keeps. Import
this module only where torch is wanted.

transformers 5.23 takes ``mamba_inner_fn`` and ``selective_scan_fn`` of mamba-ssm, and
``causal_conv1d_fn`` of causal-conv1d, where they are installed
(``integrations/hub_kernels.py: use_kernel_func_from_hub_with_fallback``).
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from planner.errors import ModelError

_LIBRARY = torch.library.Library("planner", "FRAGMENT")
_LIBRARY.define("causal_conv1d(Tensor x, Tensor weight, Tensor? bias) -> Tensor")
_LIBRARY.define(
    "causal_conv1d_backward(Tensor grad, Tensor x, Tensor weight, Tensor? bias) -> "
    "(Tensor, Tensor, Tensor?)"
)
_LIBRARY.define(
    "selective_scan(Tensor u, Tensor delta, Tensor A, Tensor B, Tensor C, Tensor D, Tensor z, "
    "Tensor delta_bias) -> (Tensor, Tensor, Tensor)"
)
_LIBRARY.define(
    "selective_scan_backward(Tensor grad, Tensor u, Tensor delta, Tensor A, Tensor B, Tensor C, "
    "Tensor D, Tensor z, Tensor delta_bias, Tensor states, Tensor out) -> "
    "(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"
)


def _plain(like: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(like, memory_format=torch.contiguous_format)


def _conv_meta(x, weight, bias):
    return _plain(x)


def _conv_backward_meta(grad, x, weight, bias):
    return _plain(x), torch.empty_like(weight), None if bias is None else torch.empty_like(bias)


def _scan_meta(u, delta, A, B, C, D, z, delta_bias):
    """The scan, the scan times the gate, the states at the ends of chunks in float32."""
    states = u.new_empty(u.shape[0], u.shape[1], 1, 2 * A.shape[1], dtype=torch.float32)
    return _plain(delta), _plain(z), states


def _scan_backward_meta(grad, u, delta, A, B, C, D, z, delta_bias, states, out):
    """Gradients in the order of the inputs, those of B and C in float32, and the gated scan made
    again."""
    wide = [torch.empty_like(side, dtype=torch.float32) for side in (B, C)]
    plain = [torch.empty_like(side) for side in (A, D, delta_bias)]
    du, ddelta, dz = _plain(u), _plain(delta), _plain(z)
    return du, ddelta, plain[0], *wide, plain[1], dz, plain[2], _plain(out)


for _name, _kernel in {
    "causal_conv1d": _conv_meta,
    "causal_conv1d_backward": _conv_backward_meta,
    "selective_scan": _scan_meta,
    "selective_scan_backward": _scan_backward_meta,
}.items():
    _LIBRARY.impl(_name, _kernel, "Meta")


def _save_conv(ctx, inputs, output):
    ctx.save_for_backward(*inputs)


def _conv_gradient(ctx, grad):
    return torch.ops.planner.causal_conv1d_backward(grad, *ctx.saved_tensors)


def _save_scan(ctx, inputs, output):
    ctx.save_for_backward(*inputs, output[2], output[0])


def _scan_gradient(ctx, _, grad, __):
    *found, _again = torch.ops.planner.selective_scan_backward(grad, *ctx.saved_tensors)
    narrow = [x.to(like.dtype) for x, like in zip(found, ctx.saved_tensors)]
    return tuple(narrow)


torch.library.register_autograd(
    "planner::causal_conv1d", _conv_gradient, setup_context=_save_conv, lib=_LIBRARY
)
torch.library.register_autograd(
    "planner::selective_scan", _scan_gradient, setup_context=_save_scan, lib=_LIBRARY
)


class MambaInner(torch.autograd.Function):
    """Everything of a Mamba layer behind its first product as one function: the convolution and
    the step sizes are not kept but made again on the way back (``checkpoint_lvl`` 1)."""

    @staticmethod
    def forward(ctx, xz, conv, conv_bias, x_proj, dt_proj, out_proj, A, D, delta_bias):
        x, z = xz.chunk(2, dim=1)
        rank, states = dt_proj.shape[1], A.shape[1]
        u = torch.ops.planner.causal_conv1d(x, conv, conv_bias)
        rows = u.transpose(1, 2).reshape(-1, u.shape[1])
        x_dbl = functional.linear(rows, x_proj)
        step, B, C = x_dbl.split([rank, states, states], dim=-1)
        delta = MambaInner._delta(step, dt_proj, xz)
        B, C = (MambaInner._by_sample(part, xz) for part in (B, C))
        out, gated, kept = torch.ops.planner.selective_scan(u, delta, A, B, C, D, z, delta_bias)
        ctx.save_for_backward(
            xz, conv, conv_bias, x_dbl, x_proj, dt_proj, out_proj, A, B, C, D, delta_bias,
            kept, out,
        )  # fmt: skip
        return functional.linear(gated.transpose(1, 2), out_proj)

    @staticmethod
    def _delta(step, dt_proj, xz):
        product = dt_proj @ step.t()
        return product.view(-1, xz.shape[0], xz.shape[2]).transpose(0, 1)

    @staticmethod
    def _by_sample(part, xz):
        rows = part.reshape(xz.shape[0], xz.shape[2], -1)
        return rows.transpose(1, 2).contiguous().unsqueeze(1)

    @staticmethod
    def backward(ctx, *grads):
        (xz, conv, conv_bias, x_dbl, x_proj, dt_proj, out_proj, A, B, C, D, delta_bias, kept,
         out) = ctx.saved_tensors  # fmt: skip
        (grad,) = grads
        step = x_dbl[:, : dt_proj.shape[1]]
        x, z = xz.chunk(2, dim=1)
        u = torch.ops.planner.causal_conv1d(x, conv, conv_bias)
        delta = MambaInner._delta(step, dt_proj, xz)
        dxz = torch.empty_like(xz)
        dout = grad.reshape(-1, grad.shape[-1]).t()
        dy = (out_proj.t() @ dout).view(-1, xz.shape[0], xz.shape[2]).transpose(0, 1)
        du, ddelta, dA, dB, dC, dD, _dz, dbias, gated = torch.ops.planner.selective_scan_backward(
            dy, u, delta, A, B, C, D, z, delta_bias, kept, out
        )
        dout_proj = dout @ gated.transpose(1, 2).reshape(-1, gated.shape[1])
        dx_dbl = torch.empty_like(x_dbl)
        rank, states = dt_proj.shape[1], A.shape[1]
        for start, part in ((rank, dB), (rank + states, dC)):
            rows = part.squeeze(1).transpose(1, 2).reshape(-1, states).contiguous()
            dx_dbl[:, start : start + states] = rows
        ddelta = ddelta.transpose(0, 1).reshape(ddelta.shape[1], -1)
        ddt_proj = ddelta @ step
        dx_dbl[:, :rank] = ddelta.t() @ dt_proj
        dx_proj = dx_dbl.t() @ u.transpose(1, 2).reshape(-1, u.shape[1])
        du = du.transpose(0, 1).reshape(du.shape[1], -1)
        du = torch.addmm(du, x_proj.t(), dx_dbl.t())
        du = du.view(-1, xz.shape[0], xz.shape[2]).transpose(0, 1)
        _dx, dconv, dconv_bias = torch.ops.planner.causal_conv1d_backward(du, x, conv, conv_bias)
        return dxz, dconv, dconv_bias, dx_proj, ddt_proj, dout_proj, dA, dD, dbias


def inner(
    xz, conv1d_weight, conv1d_bias, x_proj_weight, delta_proj_weight, out_proj_weight,
    out_proj_bias, A, B=None, C=None, D=None, delta_bias=None, b_rms_weight=None, **_more,
):  # fmt: skip
    """mamba-ssm's ``mamba_inner_fn``. Weights of products are cast as autocast asks, which its
    ``xz`` shows. None where B and C are normalised (Falcon Mamba), which it does not take: the
    layer then runs the scan and the convolution as kernels of their own."""
    if b_rms_weight is not None:
        return None
    check_unpacked(x_proj_weight, delta_proj_weight, out_proj_weight)
    products = (w.to(xz.dtype) for w in (x_proj_weight, delta_proj_weight, out_proj_weight))
    weight = conv1d_weight.squeeze(1)
    made = MambaInner.apply(xz.contiguous(), weight, conv1d_bias, *products, A, D, delta_bias)
    return made if out_proj_bias is None else made + out_proj_bias.to(made.dtype)


def check_unpacked(*weights: torch.Tensor) -> None:
    """Raises ModelError for packed weights, which only the layer's own forward pass unpacks."""
    if not all(weight.dtype.is_floating_point for weight in weights):
        raise ModelError(
            "it reads its linear layers' weights itself, which 4-bit layers do not allow",
            mend="Train it with LoRA instead",
        )


def scan(hidden_states, dt, A, B, C, D=None, z=None, delta_bias=None, **_more):
    """mamba-ssm's ``selective_scan_fn`` without a last state: (B, width, S) → (B, width, S)."""
    B, C = (part.contiguous().unsqueeze(1) for part in (B, C))
    sides = (hidden_states.contiguous(), dt.contiguous(), A, B, C)
    return torch.ops.planner.selective_scan(*sides, D, z, delta_bias)[1]


def convolution(hidden_states, weight, bias=None, activation=None, **_more):
    """causal-conv1d's ``causal_conv1d_fn``: a convolution of each channel with its activation."""
    return torch.ops.planner.causal_conv1d(hidden_states, weight, bias)


FUSED = (
    "its scans run as mamba-ssm's and causal-conv1d's kernels (selective_scan_cuda), which have to "
    "be installed: without them every layer loops over the tokens, many times slower"
)
CHUNKED = (
    "its scans run as transformers' own products of chunks; mamba-ssm's fused kernel, where it is "
    "installed, is faster and keeps less"
)
LOOPED = (
    "its recurrence runs as transformers' loop over the tokens: its own CUDA kernel, where it "
    "compiles, is many times faster"
)


def fuse_scans(module: torch.nn.Module) -> tuple[str, ...]:
    """Give every layer that scans its kernels, in place. Returns what is assumed."""
    said: dict[str, None] = {}
    for part in module.modules():
        code = inspect.unwrap(type(part).forward)
        names = set(getattr(code, "__code__", _nothing.__code__).co_names)
        if "mamba_selective_scan" in names:
            part.forward = types.MethodType(_with(code, _stand_ins()), part)
            said[FUSED] = None
        elif names & {"mamba2_chunk_scan", "mamba_chunk_scan_combined"}:
            said[CHUNKED] = None
        elif "rwkv_linear_attention" in names:
            said[LOOPED] = None
    return tuple(said)


def _nothing() -> None:
    """A forward pass that is no Python function names nothing."""


def _stand_ins() -> dict[str, Callable[..., Any]]:
    return {
        "mamba_inner_fn": inner,
        "mamba_selective_scan": scan,
        "causal_conv1d_fn": convolution,
    }


def _with(function: Any, names: dict[str, Callable[..., Any]]) -> Callable[..., Any]:
    """The function with other globals under these names."""
    scope = {**function.__globals__, **names}
    made = types.FunctionType(
        function.__code__, scope, function.__name__, function.__defaults__, function.__closure__
    )
    made.__kwdefaults__ = function.__kwdefaults__
    return made
