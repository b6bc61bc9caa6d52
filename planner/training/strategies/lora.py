"""Adapters on frozen weights, by PEFT's own ``get_peft_model``: LoRA (Hu et al. 2021, arXiv
2106.09685) and the other methods of ``profiles/adapters.csv``."""

from __future__ import annotations

from typing import Any

from planner.errors import FieldName, ModelError, QuestionError
from planner.libraries import import_library
from planner.question.adapters import Method, method_of
from planner.training.adapters import targets, trunk_of, unmatched
from planner.training.methods.configuration import LORA_CONFIG, configuration
from planner.training.methods.kept import saved
from planner.training.methods.wrapping import wrapped
from planner.training.strategy import Prepared, Strategy, count, plain

#: The type of weights of 16 bits, and where PEFT's layers keep their adapters.
HALF = {"bf16": "bfloat16", "fp16": "float16"}
ADAPTERS = ("lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B")


def adapt(built, recipe, *, total: int, custom_modules: dict | None = None) -> Prepared:
    """Adapters on ``recipe.lora_targets`` (every linear layer but the head when None), or those of
    another of PEFT's methods. Raises QuestionError for names that the model does not have,
    MissingExtraError without PEFT."""
    peft, method = import_library("peft", "LoRA"), method_of(recipe.adapter)
    config, lost = configuration(peft, built, recipe), unmatched(built, recipe)
    if custom_modules and method.config == LORA_CONFIG:
        config._register_custom_module(custom_modules)
    module = trunk_of(built)
    if recipe.gradient_checkpointing != "none" and hasattr(module, "enable_input_require_grads"):
        module.enable_input_require_grads()
    for parameter in built.module.parameters():
        parameter.requires_grad_(False)
    there = {id(parameter) for parameter in module.parameters()}
    try:
        adapted, said = wrapped(peft, module, config, as_weights=_cast_by_peft(method, recipe))
    # PEFT refuses modules that it has no adapter for, and tensors that cannot train, as they come
    except (ValueError, TypeError, RuntimeError) as error:
        raise _refusal(built, recipe, error) from error
    if built.trunk:
        built.module.set_submodule(built.trunk, adapted)
    else:
        built.module = adapted
    if recipe.adapter_precision == "weights" and method.config == LORA_CONFIG:
        _as_the_weights(adapted, recipe.precision)
    for name, parameter in adapted.named_parameters():
        plain_name = name.removeprefix("base_model.model.").replace(".base_layer", "")
        if plain_name in built.beside_adapters and parameter.is_floating_point():
            parameter.requires_grad_(True)
    prepared = plain(built, [p for p in adapted.parameters() if p.requires_grad])
    new = _new(adapted, there, method)
    prepared.adapter_parameters = count(p for p in new if p.requires_grad)
    prepared.total_parameters = total + count(new)
    if method.config != LORA_CONFIG:
        prepared.saved = saved(peft, adapted)
    prepared.unmatched_targets = lost
    prepared.assumptions += said
    return prepared


def _new(adapted: Any, there: set[int], method: Method) -> list[Any]:
    """The parameters that PEFT added; of LoRA without the whole modules that train beside it, which
    are copies."""
    named = adapted.named_parameters()
    if method.config == LORA_CONFIG:
        return [p for name, p in named if p.requires_grad and "lora_" in name]
    return [p for _, p in named if id(p) not in there]


def _cast_by_peft(method: Method, recipe: Any) -> bool:
    """Whether PEFT itself is to leave adapters in the number format of the weights; LoRA's are cast
    afterwards, as those on meta are made in float32."""
    return recipe.adapter_precision == "weights" and method.config != LORA_CONFIG


def _as_the_weights(adapted: Any, precision: str) -> None:
    """Adapters in the number format of weights of 16 bits, as ``autocast_adapter_dtype=False``
    leaves them."""
    import torch

    if precision not in HALF:
        return
    for part in adapted.modules():
        for name in ADAPTERS:
            if (adapters := getattr(part, name, None)) is not None:
                adapters.to(getattr(torch, HALF[precision]))


def _refusal(built: Any, recipe: Any, error: Exception) -> ModelError | QuestionError:
    line = " ".join(str(error).split())[:200].rstrip(".")
    method = method_of(recipe.adapter)
    if recipe.adapter is not None and method.argument and method.argument in line:
        return QuestionError(
            f"PEFT cannot adapt {built.facts.name} so: {line}", where=FieldName(method.size or "")
        )
    if "feedforward_modules" in line:  # PEFT has a list of them for some kinds of models alone
        return ModelError(
            f"PEFT has no {method.words} for its kind",
            where=built.facts.name,
            mend=f"Ask for {FieldName('adapter')} lora",
        )
    if not recipe.lora_targets and not recipe.lora_modules_to_save:
        name = f"Name the layers to adapt with {FieldName('lora_targets')}"
        return ModelError(
            f"PEFT cannot adapt it: {line}",
            where=built.facts.name,
            mend=name if method.targets != "none" else f"Ask for {FieldName('adapter')} lora",
        )
    return QuestionError(
        f"PEFT cannot adapt {built.facts.name} so: {line}",
        where=FieldName("lora_targets" if recipe.lora_targets else "lora_modules_to_save"),
        mend=f"Its linear layers are: {', '.join(sorted(built.linear_names()))}",
    )


def apply(built, recipe, build) -> Prepared:
    """Over weights as the checkpoint or ``recipe.load_in`` stores them."""
    total = count(built.module.parameters())
    if built.facts.quantization is None and recipe.load_in is None and recipe.strategy != "qlora":
        return adapt(built, recipe, total=total)
    from planner.training.quantised.adapters import adapter_classes, stand_over
    from planner.training.quantised.apply import INPUTS_KEPT, has_int8, quantise

    if method_of(recipe.adapter).targets == "linear":
        targets(built, recipe)  # what has no place for adapters is refused as such
    kept = quantise(built, recipe)
    prepared = adapt(built, recipe, total=total, custom_modules=adapter_classes())
    if method_of(recipe.adapter).config != LORA_CONFIG:
        stand_over(prepared.module)
    prepared.kept_wide_bytes, prepared.kept_stored_bytes = kept.wide_bytes, kept.stored_bytes
    if recipe.gradient_checkpointing != "none" and has_int8(built.module):
        prepared.assumptions.append(INPUTS_KEPT)
    return prepared


STRATEGY = Strategy(
    "lora", "LoRA", "low-rank adapters on frozen weights", apply, order=40, uses_lora=True
)
