"""Blocks whose parts run as kernels written by hand: Liger's, or Unsloth's with its adapters.

A norm, a gate and rotary embeddings are found by what transformers' decoders call them; a model of
a family that the library has no kernels for is refused, as is one of whose parts none is found.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import torch

from planner.errors import FieldName, ModelError
from planner.models.building.built import BuiltModel
from planner.training.kernel_families import UNSLOTH, families
from planner.training.savings.block_kernels import Gate, Norm, Rotation
from planner.training.savings.lora_kernels import LoraFeedForward, LoraLinear, adapted

ROTATION = "apply_rotary_pos_emb"


def replace_parts(built: BuiltModel, kernels: str) -> None:
    """Raises ModelError for a model that the library has no kernels for."""
    config: Any = getattr(built.module, "config", None)
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    kind, known = getattr(text, "model_type", None), families(kernels)
    if kind not in known:
        raise ModelError(
            f"{kernels} has no kernels for models of the type {kind}",
            where=built.facts.name,
            mend=f"Leave out {FieldName('kernels')}; it has them for {', '.join(sorted(known))}",
        )
    parts = known[kind]
    for module in built.module.modules():
        if parts & {"norm", "norm_apart"} and _is_norm(module):
            _becomes(module, _norm_apart if "norm_apart" in parts else _norm)
        elif "gate" in parts and _is_gated(module):
            _becomes(module, _fused_gate if hasattr(module, "gate_up_proj") else _gate)
            module._planner_unsloth = kernels == UNSLOTH  # pyright: ignore[reportArgumentType]
        elif _is_attention(module) and ("rotation" in parts or kernels == UNSLOTH):
            _within_attention(module, rotates="rotation" in parts, adapts=kernels == UNSLOTH)


def _becomes(module: torch.nn.Module, forward: Callable[..., Any]) -> None:
    module.forward = types.MethodType(forward, module)  # pyright: ignore[reportAttributeAccessIssue]


def _is_norm(module: torch.nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return type(module).__name__.endswith("RMSNorm") and weight is not None and weight.dim() == 1


def _is_gated(module: torch.nn.Module) -> bool:
    halves = hasattr(module, "gate_proj") and hasattr(module, "up_proj")
    linear = isinstance(getattr(module, "down_proj", None), torch.nn.Linear)
    return linear and (halves or hasattr(module, "gate_up_proj"))


def _is_attention(module: torch.nn.Module) -> bool:
    return hasattr(module, "o_proj") and (hasattr(module, "q_proj") or hasattr(module, "qkv_proj"))


def _norm(module: Any, x: torch.Tensor) -> torch.Tensor:
    return Norm.apply(x, module.weight, False)  # pyright: ignore[reportReturnType]


def _norm_apart(module: Any, x: torch.Tensor) -> torch.Tensor:
    return Norm.apply(x, module.weight, True)  # pyright: ignore[reportReturnType]


def _gate(module: Any, x: torch.Tensor) -> torch.Tensor:
    layers = (module.gate_proj, module.up_proj, module.down_proj)
    own = [adapted(layer) for layer in layers] if module._planner_unsloth else [None]
    if all(layer is not None for layer in own):
        trained = [t for layer in own for t in (layer.a, layer.b)]  # pyright: ignore
        return LoraFeedForward.apply(x, tuple(own), *trained)  # pyright: ignore[reportReturnType]
    return module.down_proj(Gate.apply(module.gate_proj(x), module.up_proj(x)))


def _fused_gate(module: Any, x: torch.Tensor) -> torch.Tensor:
    gate, up = module.gate_up_proj(x).chunk(2, dim=-1)
    return module.down_proj(Gate.apply(gate, up))


def _within_attention(module: Any, *, rotates: bool, adapts: bool) -> None:
    """The module's own forward pass, in which the kernels stand for what it calls."""
    names = sys.modules[type(module).__module__]
    plain = type(module).forward

    def rotated(q, k, cos, sin, *_: Any, **__: Any) -> Any:
        return Rotation.apply(q, k, cos, sin)

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        if adapts:
            for layer in (self.q_proj, self.k_proj, self.v_proj, self.o_proj):
                _adapt(layer)
        before = getattr(names, ROTATION, None)
        if not rotates or before is None:
            return plain(self, *args, **kwargs)
        setattr(names, ROTATION, rotated)
        try:
            return plain(self, *args, **kwargs)
        finally:
            setattr(names, ROTATION, before)

    _becomes(module, forward)


def _adapt(layer: Any) -> None:
    """PEFT's layer runs as one function from now on."""
    own = adapted(layer)
    if own is None or "forward" in vars(layer):
        return

    def forward(_: Any, x: torch.Tensor) -> torch.Tensor:
        return LoraLinear.apply(x, own, own.a, own.b)  # pyright: ignore[reportReturnType]

    _becomes(layer, forward)
