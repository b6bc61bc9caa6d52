"""What the scripts of a recipe cannot run, refused before anything is written: each in one line,
with the field that asks for it."""

from __future__ import annotations

from collections.abc import Iterator

from planner.errors import FieldName, QuestionError
from planner.models.sizes import is_size
from planner.plan.placement.variants import CACHED, GRADUAL
from planner.question.adapters import LORA_TYPE, method_of, methods
from planner.question.how import How
from planner.question.training_setting import WRITING
from planner.question.what import What
from planner.recipe.planned import Planned

#: Trainers of a stack that the language model's script is.
TRAINERS = ("trainer", "trl", "liger")
#: Objectives that a script of TRL's trains, and those that TRL trains in another way than planned.
TUNED = ("dpo", "orpo", "kto", "reward", "grpo", "rloo", "gkd", "on_policy_distillation")
#: The one that a script of its own trains, as torchtune does.
DISTILLED = "kd"
TEXT_TASKS = ("causal_lm", "text_classification")
IMAGE_TASK = "image_classification"
IMAGE_LIBRARIES = ("timm", "torchvision")
NO_SCRIPT = "there is no script that runs it"


#: Fields of how it is trained that scripts run, refuse, or that say nothing to them. Another one is
#: newer than the scripts, and refused where it is asked.
KNOWN = frozenset(
    {
        *("epochs", "max_steps", "micro_batch", "global_batch", "max_length", "length_spread"),
        *("image_size", "largest_image_size", "objects_per_image", "most_objects"),
        *("images_per_sample", "vision_tower", "negatives", "padding", "group_by_length"),
        *("precision", "optimizer", "gradient_checkpointing", "attention", "compile", "loss"),
        *("float8", "float8_layers"),
        *("kernels", "optimizer_in_backward", "offload", "adapter", "virtual_tokens"),
        *("adapter_block_size", "lora_rank", "lora_alpha", "lora_targets", "lora_exclude"),
        *("lora_layers", "lora_layers_pattern", "lora_modules_to_save", "lora_rank_pattern"),
        *("lora_dropout", "adapter_precision", "load_in", "kbit_preparation"),
        *("quantised_layers", "prior_preservation", "unfrozen_blocks", "unfreezing"),
        *("cached_features", "objective", "reference", "generations_per_prompt"),
        *("completion_tokens", "generation_engine", "teacher", "stack", "evaluations_per_epoch"),
        *("on_policy_share", "teacher_writes"),
        *("evaluation_samples", "evaluation_batch", "evaluation_keeps_logits"),
        *("max_grad_norm", "ema", "ema_every", "empty_cache_steps", "allocator"),
        *("evaluation_generates", "generated_tokens", "beams", "saves_per_epoch"),
        *("loader_workers", "preparation_workers", "prepared"),
    }
)


def check(planned: Planned) -> None:
    """Raises QuestionError for the first thing that no script runs."""
    for refusal in _refusals(planned):
        raise refusal


def _refusals(planned: Planned) -> Iterator[QuestionError]:
    yield from _of_the_model(planned)
    yield from _of_the_strategy(planned)
    yield from _of_the_step(planned)
    yield from _of_the_run(planned)
    yield from _of_the_data(planned)


def refused(what: str, field: str, mend: str = "Leave it out") -> QuestionError:
    return QuestionError(f"{what}: {NO_SCRIPT}", where=FieldName(field), mend=mend)


def is_vision(planned: Planned) -> bool:
    return planned.option.facts.library in IMAGE_LIBRARIES


def _of_the_model(planned: Planned) -> Iterator[QuestionError]:
    facts, task = planned.option.facts, planned.recipe.task
    if facts.library not in ("transformers", *IMAGE_LIBRARIES):
        yield refused(f"{facts.name} is a model of {facts.library}", "model", "Name another model")
    known = (IMAGE_TASK,) if is_vision(planned) else TEXT_TASKS
    if task not in known:
        mend = f"Scripts train {', '.join((*TEXT_TASKS, f'{IMAGE_TASK} of timm, torchvision'))}"
        yield refused(f"{facts.name} is trained for {task}", "task", mend)
    if facts.quantization is not None:
        yield refused("its weights are stored quantised", "model", "Name the plain checkpoint")
    if is_size(planned.question.model):
        size = planned.question.model
        yield refused(f"{size} is a size and no model", "model", f"Name a model: {facts.name}")


def _of_the_strategy(planned: Planned) -> Iterator[QuestionError]:
    strategy, option, objective = planned.strategy, planned.option, planned.recipe.objective
    if planned.question.objective == "sequence_distillation":
        what = "answers that a teacher writes before the training"
        yield refused(what, "objective", f"Ask for {DISTILLED}, or give its answers as the data")
    if strategy == "distillation":
        yield refused("distillation runs a teacher beside the model", "strategy", _OTHERS)
    if option.variant in (CACHED, GRADUAL):
        what = f"the plan is of {strategy}, {option.variant}"
        if strategy == "partial_fine_tune":
            yield refused(what, "unfreezing", "Ask for last_blocks")
        mend = f"Ask for {FieldName('cached_features', off=True)}"
        yield refused(what, "cached_features", mend)
    if is_vision(planned) and strategy in ("lora", "qlora"):
        yield refused("adapters in a model of images", "strategy", _OTHERS)
    if planned.recipe.has_adapters and method_of(planned.recipe.adapter).peft_type != LORA_TYPE:
        kin = [name for name, own in methods().items() if own.peft_type == LORA_TYPE]
        words = method_of(planned.recipe.adapter).words
        yield refused(f"adapters of {words}", "adapter", f"Ask for {', '.join(kin)}")
    if strategy in ("partial_fine_tune", "feature_extraction") and objective is not None:
        yield refused(f"{strategy} with {objective}", "strategy", _OTHERS)
    if objective is not None and objective not in (*TUNED, DISTILLED):
        yield refused(
            f"{objective} needs a value model", "objective", f"Ask for {', '.join(TUNED)}"
        )


_OTHERS = "Ask for another strategy"


def _of_the_step(planned: Planned) -> Iterator[QuestionError]:
    question, recipe = planned.question, planned.recipe
    for name in sorted(question.model_fields_set & unknown_fields()):
        if getattr(question, name) != How.model_fields[name].default:
            yield refused(f"{name.replace('_', ' ')} is newer than the scripts", name)
    if recipe.loss is not None and planned.stack.trainer != "liger":
        yield refused(f"a {recipe.loss} loss", "loss", f"Ask for {FieldName('stack')} liger")
    if recipe.float8 is not None:
        yield refused(f"products in float8 ({recipe.float8})", "float8")
    if recipe.kernels is not None:
        yield refused(f"{recipe.kernels}'s kernels", "kernels")
    if planned.option.choices.padding == "free":
        yield refused("batches without padding", "padding", "Ask for longest or packed")
    if recipe.optimizer_in_backward:
        yield refused("updates inside the backward pass", "optimizer_in_backward")
    if recipe.offload:
        yield refused(f"{' and '.join(recipe.offload)} in the host's memory", "offload")
    if question.ema:
        yield refused("an average of the weights", "ema")
    if question.allocator:
        yield refused("settings of the allocator, which are the shell's", "allocator")
    if question.empty_cache_steps:
        yield refused("a cache that is given back every so many steps", "empty_cache_steps")
    if recipe.gradient_checkpointing == "selective":
        yield refused("selective checkpointing", "gradient_checkpointing", "Ask for full or none")
    few_bits = recipe.strategy == "qlora" or recipe.load_in is not None  # TRL casts them itself
    own = recipe.objective in (None, DISTILLED) or few_bits
    if recipe.adapter_precision == "weights" and not own:
        yield refused("adapters in the weights' number format", "adapter_precision")
    if recipe.quantised_layers == "all":
        yield refused("quantised experts", "quantised_layers")
    if recipe.images or question.prior_preservation:
        yield refused("images beside text", "task", "Name a model of texts")


def unknown_fields() -> set[str]:
    """Fields of how it is trained that nothing here knows of."""
    return set(How.model_fields) - set(What.model_fields) - KNOWN


def _of_the_run(planned: Planned) -> Iterator[QuestionError]:
    question, stack, run = planned.question, planned.stack, planned.option.run
    if not is_vision(planned) and (stack.trainer not in TRAINERS or stack.year is not None):
        yield refused(f"{stack.text} is no trainer of this script", "stack", _STACK)
    if is_vision(planned) and question.stack is not None:
        yield refused(f"{stack.text} is not this loop of plain torch", "stack")
    evaluates = bool(run.evaluations)
    if evaluates and planned.option.choices.practice.generates:
        mend = f"Use {FieldName('evaluation_generates', off=True)}"
        yield refused("an evaluation that writes text", "evaluation_generates", mend)
    if evaluates and question.evaluation_keeps_logits:
        yield refused("an evaluation that keeps all logits", "evaluation_keeps_logits")
    if is_vision(planned) and question.gpus > 1:
        yield refused("a loop over several GPUs", "gpus", "Ask for 1")
    sharding = planned.option.rented.parallel.sharding
    if sharding and planned.recipe.objective is not None:
        what = f"state in parts over its devices ({sharding}) with {planned.recipe.objective}"
        yield refused(what, "parallel", "Ask for ddp")
    if planned.option.rented.parallel.is_split:
        yield refused("layers in parts over its devices", "gpus", "Ask for fsdp in their place")
    if planned.option.rented.parallel.is_parted:
        what = "experts or sequences in parts over its devices"
        yield refused(what, "gpus", "Ask for fsdp in their place")
    if planned.recipe.objective in WRITING and question.generation_engine == "vllm_server":
        yield refused("vLLM on a GPU of its own", "generation_engine", "Ask for vllm")


_STACK = f"Ask for {', '.join(TRAINERS)} of today"


def _of_the_data(planned: Planned) -> Iterator[QuestionError]:
    columns, data = planned.data.columns, planned.data
    if columns.get("kind") == "ids":
        yield refused("its records are tokens already", "data", "Give its texts")
    if planned.recipe.task == "text_classification" and not columns.get("label"):
        yield refused("its records have no label", "data", "Give a column with one")
    if is_vision(planned) and data.format != "image_folder":
        yield refused(f"images in {data.format}", "data", "Give a folder with a folder a class")
    if planned.recipe.objective is None and columns.get("kind") == "preference":
        yield refused(
            "pairs of a chosen and a rejected answer without an objective",
            "objective",
            f"Ask for {', '.join(TUNED)}",
        )
