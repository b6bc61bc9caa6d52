"""QLoRA as users run it: bitsandbytes' own 4-bit layers under PEFT's adapters.

On meta the strategy stands in for these layers (``planner/training/nf4.py``); here they are the
real ones.
"""

from __future__ import annotations

from typing import Any

from planner.training.recipe import Recipe
from planner.training.strategies.lora import adapt
from planner.training.strategy import Prepared, count


def apply_qlora(built: Any, recipe: Recipe, device: str) -> Prepared:
    """The linear layers but the head in NF4 with double quantisation (Dettmers et al. 2023, section
    3), then LoRA over them.

    Raises MissingExtraError without bitsandbytes.
    """
    import torch

    from planner.measure.bitsandbytes import bitsandbytes

    library = bitsandbytes("QLoRA")
    total = count(built.module.parameters())
    compute = torch.float16 if recipe.precision in ("fp16", "amp_fp16") else torch.bfloat16
    spared = tuple(getattr(built.module, "_keep_in_fp32_modules", None) or ())
    _quantise(built.module, library, compute, tuple(built.head) or ("lm_head",), spared, device)
    # PEFT picks its 4-bit adapters by this mark of transformers
    built.module.is_loaded_in_4bit = True
    return adapt(built, recipe, total=total)


def _quantise(
    module: Any,
    library: Any,
    compute: Any,
    head: tuple[str, ...],
    spared: tuple[str, ...],
    device: str,
) -> None:
    """Each linear layer outside the head and the spared names becomes a ``Linear4bit`` with its
    weight packed on the device."""
    import torch

    chosen = [
        name
        for name, part in module.named_modules()
        if type(part) is torch.nn.Linear and not _keeps(name, head + spared)
    ]
    for name in chosen:
        parent, _, last = name.rpartition(".")
        holder = module.get_submodule(parent) if parent else module
        old = getattr(holder, last)
        new = library.nn.Linear4bit(
            old.in_features,
            old.out_features,
            bias=old.bias is not None,
            compute_dtype=compute,
            compress_statistics=True,
            quant_type="nf4",
            device="meta",
        )
        new.weight = library.nn.Params4bit(
            old.weight.detach().to("cpu"),
            requires_grad=False,
            compress_statistics=True,
            quant_type="nf4",
            module=new,
        )
        if old.bias is not None:
            new.bias = torch.nn.Parameter(old.bias.detach(), requires_grad=False)
        setattr(holder, last, new.to(device))  # moving to the device packs it


def _keeps(name: str, kept: tuple[str, ...]) -> bool:
    """As ``planner.training.nf4.quantise`` decides, so that the run and its trace quantise the same
    layers."""
    return any(name == item or name.endswith(f".{item}") for item in kept)
