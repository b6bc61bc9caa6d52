"""Adapters over weights in few bits as users run them: bitsandbytes' own layers under PEFT's
adapters.

On meta the strategy stands in for these layers (``planner/training/quantised``); here they are the
real ones. What is not quantised is in float32 where the recipe's precision says so, as PEFT's
``prepare_model_for_kbit_training`` makes it.
"""

from __future__ import annotations

from typing import Any

from planner.errors import FieldName, ModelError
from planner.models.quantization.stored import LOADED
from planner.training.quantised.apply import compute_type, quantization_of
from planner.training.quantised.chosen import conv1d, converted, experts
from planner.training.recipe import Recipe
from planner.training.strategies.lora import adapt
from planner.training.strategy import Prepared, count


def apply_qlora(built: Any, recipe: Recipe, device: str) -> Prepared:
    """The layers that the loader converts, in NF4 with double quantisation (Dettmers et al. 2023,
    section 3) or in int8 (LLM.int8()), then LoRA over them.

    Raises MissingExtraError without bitsandbytes, ModelError for a checkpoint that is stored
    quantised already and for experts that bitsandbytes has no layer for.
    """
    from planner.measure.bitsandbytes import bitsandbytes

    library = bitsandbytes("QLoRA")
    stored = quantization_of(built, recipe)
    if stored is None or stored not in LOADED.values():
        raise ModelError(
            "its checkpoint is stored quantised: a measured step has random weights of its own",
            where=built.facts.name,
            mend="Measure the model that it was made from",
        )
    every = recipe.quantised_layers == "all"
    if every and any(True for _ in experts(built.module)):
        raise ModelError(
            "bitsandbytes has no layer for its experts, which are three-dimensional weights",
            where=built.facts.name,
            mend=f"Leave {FieldName('quantised_layers')} out",
        )
    total = count(built.module.parameters())
    for name in converted(built, stored, every=every):
        old = built.module.get_submodule(name)
        make = _eight_bits if stored is LOADED["8bit"] else _four_bits
        new = make(old, library, compute_type(recipe))
        built.module.set_submodule(name, new.to(device))  # moving to the device packs it
    # PEFT picks its adapters by these marks of transformers
    mark = "is_loaded_in_8bit" if stored is LOADED["8bit"] else "is_loaded_in_4bit"
    setattr(built.module, mark, True)
    return adapt(built, recipe, total=total)


def _four_bits(old: Any, library: Any, compute: Any) -> Any:
    weight = _weight(old)
    new = library.nn.Linear4bit(
        weight.shape[1],
        weight.shape[0],
        bias=old.bias is not None,
        compute_dtype=compute,
        compress_statistics=True,
        quant_type="nf4",
        device="meta",
    )
    new.weight = library.nn.Params4bit(
        weight,
        requires_grad=False,
        compress_statistics=True,
        quant_type="nf4",
        module=new,
    )
    return _with_bias(new, old)


def _eight_bits(old: Any, library: Any, _compute: Any) -> Any:
    weight = _weight(old)
    new = library.nn.Linear8bitLt(
        weight.shape[1],
        weight.shape[0],
        bias=old.bias is not None,
        has_fp16_weights=False,
        threshold=6.0,  # transformers' llm_int8_threshold
        device="meta",
    )
    new.weight = library.nn.Int8Params(weight, requires_grad=False, has_fp16_weights=False)
    return _with_bias(new, old)


def _weight(old: Any) -> Any:
    """On the processor, outputs first."""
    weight = old.weight.detach().to("cpu")
    return weight.T.contiguous() if conv1d(old) else weight


def _with_bias(new: Any, old: Any) -> Any:
    import torch

    if old.bias is not None:
        new.bias = torch.nn.Parameter(old.bias.detach(), requires_grad=False)
    return new
