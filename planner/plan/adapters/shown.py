"""A recipe's adapters as the values of an answer."""

from __future__ import annotations

from typing import Any

from planner.question.adapters import SIZES, method_of
from planner.training.recipe import Recipe

#: Where adapters go that are asked nowhere, by a method's ``targets``.
PLACES = {
    "linear": "every linear layer but the head",
    "peft": "as PEFT chooses for the model's kind",
    "none": "before the text",
}


def adapter_values(recipe: Recipe) -> dict[str, Any] | None:
    """The method where it is not LoRA, its size, its places; None where no adapters train."""
    if not recipe.has_adapters:
        return None
    method = method_of(recipe.adapter)
    made = {"method": method.words} if recipe.adapter else {}
    sizes = {name: getattr(recipe, name) for name in SIZES if method.takes(name)}
    return {
        **made,
        **{name.removeprefix("lora_"): size for name, size in sizes.items()},
        "targets": list(recipe.lora_targets) if recipe.lora_targets else PLACES[method.targets],
        **({"dropout": recipe.lora_dropout} if method.takes("lora_dropout") else {}),
    }


def are_float32(recipe: Recipe) -> bool:
    """Whether what trains over weights of 16 bits is float32: what PEFT makes anew is, copies of
    layers are as the layers."""
    method = method_of(recipe.adapter)
    anew = method.targets == "none" or method.takes("adapter_precision")
    return recipe.has_adapters and recipe.adapter_precision is None and anew
