"""Adapters on a mixture's experts: their weights are parameters of three dimensions, which PEFT
adapts by ``target_parameters``, or by the names that transformers 4 gave their layers (``w1`` of
Mixtral, ``gate_proj`` of Qwen's and DeepSeek's), which PEFT 0.21 turns into such
(``peft/utils/transformers_weight_conversion.py``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from planner.models.building.built import BuiltModel

#: Names of a router, which the same table of PEFT holds.
ROUTER = "gate"


def old_names(built: BuiltModel) -> frozenset[str]:
    """What PEFT takes as names of this family's experts and router; none for what is no mixture
    and for a PEFT that knows no such names."""
    if not has_experts(built.module):
        return frozenset()
    try:
        from peft.utils import transformers_weight_conversion as conversion
    except ImportError:
        return frozenset()
    kind = getattr(getattr(built.module, "config", None), "model_type", None)
    patterns: dict[str, str] = getattr(conversion, "_MODEL_TO_CONVERSION_PATTERN", {})
    mapping: dict[str, Any] = getattr(conversion, "_MOE_TARGET_MODULE_MAPPING", {})
    return frozenset(mapping.get(patterns.get(kind or "", ""), {}))


def has_experts(module: Any) -> bool:
    return any(type(part).__name__.endswith("Experts") for part in module.modules())


def parameter_names(built: BuiltModel) -> list[str]:
    """Experts' weights, as ``target_parameters`` takes them."""
    return [name for name, p in built.module.named_parameters() if p.dim() == 3]
