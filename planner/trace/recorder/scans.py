"""State-space layers whose code in transformers loops over the tokens where mamba-ssm is not
installed: built with its fused kernels, which nobody trains them without.

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

from planner.trace.recorder import selective_scan

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
        "mamba_inner_fn": selective_scan.inner,
        "mamba_selective_scan": selective_scan.scan,
        "causal_conv1d_fn": selective_scan.convolution,
    }


def _with(function: Any, names: dict[str, Callable[..., Any]]) -> Callable[..., Any]:
    """The function with other globals under these names."""
    scope = {**function.__globals__, **names}
    made = types.FunctionType(
        function.__code__, scope, function.__name__, function.__defaults__, function.__closure__
    )
    made.__kwdefaults__ = function.__kwdefaults__
    return made
