"""Which modules of a model a loader converts: the libraries' own rules, run on the meta model.

bitsandbytes: ``replace_with_bnb_linear`` of transformers' ``integrations/bitsandbytes.py``. Since
version 5 it converts ``nn.Linear`` itself and ``Conv1D``, no subclass (Falcon's layers stay), and
experts that are three-dimensional parameters are no modules at all; before it converted every
subclass, and experts were linear layers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING, Any

import torch

from planner.models.quantization.stored import Quantization

if TYPE_CHECKING:
    from planner.models.building.built import BuiltModel

#: The first release of transformers whose bitsandbytes loader leaves subclasses alone.
EXACT_FROM = 5


def converted(built: BuiltModel, quantization: Quantization, *, every: bool = False) -> list[str]:
    """Names of the modules that become layers of stored weights. ``every``: subclasses too, as
    loaders of before transformers 5 and own ones do."""
    if not quantization.linears:
        return []
    spared = _spared(built, quantization)
    trunk = f"{built.trunk}." if built.trunk else ""
    blocks = tuple(f"{name}." for name in built.block_names) if _in_blocks(quantization) else ()
    every = every or not exact()
    return [
        name
        for name, part in built.module.named_modules()
        if _convertible(part, quantization, every)
        and name.startswith(trunk)
        and should_convert(name, spared)
        and (not blocks or name.startswith(blocks))
        and (not quantization.only or name.endswith(quantization.only))
        and quantization.of(name, classes(part)) is not None
    ]


def classes(part: torch.nn.Module) -> list[str]:
    """The names of a module's class and of those that it is derived from."""
    return [own.__name__ for own in type(part).__mro__]


def _in_blocks(quantization: Quantization) -> bool:
    """GPTQ converts the layers of the repeated blocks, optimum's ``GPTQQuantizer``."""
    return quantization.method == "gptq"


def _convertible(part: Any, quantization: Quantization, every: bool) -> bool:
    bitsandbytes = quantization.method.startswith("bitsandbytes")
    if conv1d(part):
        return bitsandbytes or quantization.method == "gptq"
    if not bitsandbytes or every:
        return isinstance(part, torch.nn.Linear)
    return type(part) is torch.nn.Linear


def conv1d(part: Any) -> bool:
    """GPT-2's layer, whose weight has the inputs first."""
    own = type(part)
    return own.__name__ == "Conv1D" and own.__module__ == "transformers.pytorch_utils"


def exact() -> bool:
    """Does the installed transformers convert ``nn.Linear`` itself only?"""
    try:
        return int(metadata.version("transformers").partition(".")[0]) >= EXACT_FROM
    except (metadata.PackageNotFoundError, ValueError):
        return True


def _spared(built: BuiltModel, quantization: Quantization) -> list[str]:
    """As ``HfQuantizer.get_modules_to_not_convert``: what the config names, or what the library
    finds by itself, and what the model keeps in float32."""
    module: Any = built.module
    named = quantization.spared
    found = list(named or ())
    if named is None or quantization.method == "awq":
        found += _by_default(built)
    return [*found, *(getattr(module, "_keep_in_fp32_modules", None) or ())]


def _by_default(built: BuiltModel) -> list[str]:
    module: Any = built.module
    if built.trunk:  # diffusers' loader spares nothing by itself
        return []
    if not hasattr(module, "get_output_embeddings"):
        return list(built.head)  # a model of another library: its head is what trains anew
    try:
        from transformers.quantizers.base import get_keys_to_not_convert
    except ImportError:
        # where older releases of transformers keep it
        from transformers.integrations import (
            get_keys_to_not_convert,  # pyright: ignore[reportAttributeAccessIssue]
        )
    return list(get_keys_to_not_convert(module))


def should_convert(name: str, spared: list[str]) -> bool:
    """transformers' ``should_convert_module`` (5.23): a key spares what begins with it up to a dot,
    as an expression, and what ends in it. A key that is no expression spares what ends in it."""
    for key in spared:
        if name.endswith(key):
            return False
        try:
            if re.match(rf"(?:{key})(?:(?<=\.)|(?=\.|$))", name):
                return False
        except re.error:
            continue
    return True


#: Part of a three-dimensional weight's name → the layers of one expert in checkpoints.
EXPERT_LAYERS = {
    "gate": ("gate_proj", "up_proj", "w1", "w3"),
    "up": ("up_proj", "w1"),
    "": ("down_proj", "w2"),
}


def expert_storage(name: str, weight: str, quantization: Quantization) -> Quantization | None:
    """How a three-dimensional weight of a mixture is stored, by the linear layers that a checkpoint
    has in its place; None for one that is not."""
    parts = next(parts for kind, parts in EXPERT_LAYERS.items() if kind in weight)
    found = (quantization.of(f"{name}.0.{part}", ("Linear",)) for part in parts)
    return next(filter(None, found), None)


def experts(module: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module, list[str]]]:
    """(name, module, names of its weights) of every module whose experts are three-dimensional
    parameters, as transformers has them since version 5."""
    for name, part in module.named_modules():
        weights = [
            own
            for own, parameter in part.named_parameters(recurse=False)
            if parameter.dim() == 3 and parameter.is_floating_point() and hasattr(part, "has_gate")
        ]
        if weights:
            yield name, part, weights
