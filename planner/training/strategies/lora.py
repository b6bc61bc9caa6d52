"""LoRA: frozen weights and low-rank adapters, by PEFT's own ``get_peft_model`` (Hu et al. 2021,
arXiv 2106.09685)."""

from __future__ import annotations

from planner.errors import FieldName, ModelError, QuestionError
from planner.libraries import import_library
from planner.training.strategy import Prepared, Strategy, count, plain


def adapt(built, recipe, *, total: int, custom_modules: dict | None = None) -> Prepared:
    """Adapters on ``recipe.lora_targets`` (every linear layer but the head when None). Raises
    QuestionError for names that the model does not have, MissingExtraError without PEFT."""
    peft = import_library("peft", "LoRA")
    known = sorted(built.linear_names())
    targets = list(recipe.lora_targets) if recipe.lora_targets else known
    if not targets:
        raise QuestionError(
            f"{built.facts.name} has no linear layer but its head: adapters have no place in it",
            where=FieldName("strategy"),
            mend=f"Name layers that it has with {FieldName('lora_targets')} (LoRA also takes "
            "convolutions), or train it otherwise",
        )
    config = peft.LoraConfig(
        r=recipe.lora_rank,
        lora_alpha=2 * recipe.lora_rank,
        lora_dropout=recipe.lora_dropout or 0.0,
        target_modules=targets,
        bias="none",
    )
    if custom_modules:
        config._register_custom_module(custom_modules)
    module = built.module
    if recipe.gradient_checkpointing != "none" and hasattr(module, "enable_input_require_grads"):
        module.enable_input_require_grads()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    try:
        adapted = peft.get_peft_model(module, config)
    except ValueError as error:
        if not recipe.lora_targets:
            raise ModelError(
                f"PEFT cannot adapt it: {' '.join(str(error).split())[:200]}",
                where=built.facts.name,
                mend=f"Name the layers to adapt with {FieldName('lora_targets')}",
            ) from error
        raise QuestionError(
            f"no such modules in {built.facts.name}: {', '.join(targets)}",
            where=FieldName("lora_targets"),
            mend=f"It has: {', '.join(known)}",
        ) from error
    built.module = adapted
    trainable = [p for p in adapted.parameters() if p.requires_grad]
    prepared = plain(built, trainable)
    prepared.total_parameters = total + count(trainable)
    return prepared


def apply(built, recipe, build) -> Prepared:
    return adapt(built, recipe, total=count(built.module.parameters()))


STRATEGY = Strategy(
    "lora", "LoRA", "low-rank adapters on frozen weights", apply, order=40, uses_lora=True
)
