"""A built model with its weights stored as its checkpoint or its loader stores them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from planner.errors import FieldName, ModelError
from planner.models.quantization.stored import LOADED, Quantization
from planner.training.quantised.chosen import classes, converted, expert_storage, experts
from planner.training.quantised.experts import store_experts
from planner.training.quantised.layers import Linear8bit, layer_for

if TYPE_CHECKING:
    from planner.models.building.built import BuiltModel
    from planner.training.recipe import Recipe

#: Recipes that compute in float16; every other one in bfloat16, but for float32's own.
HALF = ("fp16", "amp_fp16")
WHOLE = ("fp32", "tf32")


#: The word of a recipe whose 4-bit layers keep their inputs.
KEPT = "kept"
#: bitsandbytes ``MatMul8bitLt.forward`` puts its input on the context itself.
INPUTS_KEPT = (
    "LLM.int8() layers hold their inputs outside of autograd's saved tensors: checkpointing "
    "without use_reentrant, the default of transformers 5, frees none of them; use_reentrant=True "
    "does"
)


@dataclass(frozen=True)
class Kept:
    """Weights of layers and experts that the loader leaves as they are, though others convert them:
    ``wide_bytes`` as they lie, ``stored_bytes`` as the others store them."""

    wide_bytes: int = 0
    stored_bytes: int = 0


def quantization_of(built: BuiltModel, recipe: Recipe) -> Quantization | None:
    """How the weights that a recipe trains over are stored: as the checkpoint has them, else as it
    is asked to load them."""
    own = built.facts.quantization
    if own is not None and own.known:
        return own
    if recipe.strategy == "qlora":
        return LOADED["4bit"]
    return LOADED[recipe.load_in] if recipe.load_in else None


def compute_type(recipe: Recipe) -> torch.dtype:
    if recipe.precision in HALF:
        return torch.float16
    return torch.float32 if recipe.precision in WHOLE else torch.bfloat16


def quantise(built: BuiltModel, recipe: Recipe) -> Kept:
    """Replace what the loader converts, in place. Raises ModelError where it converts nothing."""
    quantization = quantization_of(built, recipe)
    if quantization is None:
        return Kept()
    compute = compute_type(recipe)
    every = recipe.quantised_layers == "all"
    chosen = converted(built, quantization, every=every)
    kept = Kept() if every else _kept(built, quantization, chosen)
    for name in chosen:
        part = built.module.get_submodule(name)
        own = quantization.of(name, classes(part)) or quantization
        layer = layer_for(part, own, compute)
        layer.keeps_input = recipe.quantised_inputs == KEPT
        built.module.set_submodule(name, layer)
    if every or quantization.experts:
        chosen += [name for name, _, _ in _store_experts(built, quantization, compute)]
    if not chosen:
        raise ModelError(
            f"it has no layer that {quantization.words} converts",
            where=built.facts.name,
            mend=f"Train adapters over its plain weights: {FieldName('strategy')} lora",
        )
    return kept


def _store_experts(
    built: BuiltModel, quantization: Quantization, compute: torch.dtype
) -> list[tuple[str, torch.nn.Module, list[str]]]:
    found = []
    for name, part, names in list(experts(built.module)):
        stored = {
            weight: own
            for weight in names
            if (own := expert_storage(name, weight, quantization)) is not None
        }
        if stored:
            store_experts(part, stored, compute)
            found.append((name, part, names))
    return found


def _kept(built: BuiltModel, quantization: Quantization, chosen: list[str]) -> Kept:
    """Experts and subclasses of linear layers that are converted elsewhere."""
    wide = stored = 0
    more = set(converted(built, quantization, every=True)) - set(chosen)
    for name in more:
        weight: Any = built.module.get_submodule(name).weight
        wide += weight.numel() * weight.element_size()
        stored += quantization.stored_bytes(*weight.shape)
    if not quantization.experts:
        for _, part, names in experts(built.module):
            turned = bool(getattr(part, "is_transposed", False))
            for weight in (getattr(part, name) for name in names):
                shape = weight.shape[1:][::-1] if turned else weight.shape[1:]
                wide += weight.numel() * weight.element_size()
                stored += weight.shape[0] * quantization.stored_bytes(*shape)
    return Kept(wide, stored)


def has_int8(module: torch.nn.Module) -> bool:
    return any(isinstance(part, Linear8bit) for part in module.modules())


def store_frozen(built: BuiltModel, recipe: Recipe) -> None:
    """Weights that only run forward, as a quantised checkpoint stores them; plain ones stay."""
    if built.facts.quantization is not None and built.facts.quantization.known:
        quantise(built, recipe)
