"""The settings of a text model's run as its script reads them: transformers' and TRL's own names
wherever they have one, so that ``planner estimate config.yaml`` reads the plan back."""

from __future__ import annotations

import math
from pathlib import Path

from planner.models.catalogue import find
from planner.plan.around.clipping import clipped_at
from planner.plan.inputs.written import preparation
from planner.question.adapters import method_of
from planner.question.stack import DEFAULT
from planner.question.training_setting import TAUGHT
from planner.recipe.config import Key, Section, section
from planner.recipe.expressible import DISTILLED
from planner.recipe.launching.sharing import sharing_keys
from planner.recipe.optimizers import trainer_keys
from planner.recipe.planned import Planned
from planner.training.methods.configuration import arguments

ATTENTION = {"flash": "flash_attention_2", "flex": "flex_attention"}
#: A recipe's precision → the weights' number format, and the one that products run in by autocast.
WEIGHTS = {"bf16": "bfloat16", "fp16": "float16"}
AUTOCAST = {"amp_bf16": "bf16", "amp_fp16": "fp16"}


def sections(planned: Planned) -> list[Section]:
    """Raises QuestionError for an optimizer that no script has."""
    return [
        section("The model and its data.", *_model(planned), *_weights(planned)),
        section("The adapters, as PEFT takes them.", *_adapters(planned)),
        section("Which of its weights train.", *_parts(planned)),
        section("What a record is cut and padded to.", *_lengths(planned)),
        section("Batches and steps, those of the plan.", *_steps(planned)),
        section("How a step is run.", *_step(planned)),
        section("How the devices share the model.", *sharing_keys(planned)),
        section("Evaluations and checkpoints.", *_evaluations(planned), *_savings(planned)),
        section("Where it is written to.", *_places()),
        section(
            "No part of the plan: they change what is learnt and no cost.",
            Key("learning_rate", LEARNING_RATE, "the Trainer's own: choose yours"),
        ),
    ]


#: transformers.TrainingArguments.learning_rate (transformers 5.23 training_args.py).
LEARNING_RATE = 5e-5


def model_place(planned: Planned) -> str:
    """The model by the name that transformers loads it by, a folder with its whole path."""
    facts, name = planned.problem.facts, planned.question.model
    folder = Path(name).expanduser()
    if folder.exists():
        return str(folder.resolve() if folder.is_dir() else folder.resolve().parent)
    row = find(name) if facts.origin == "catalogue" else None
    return (row or {}).get("hub_id") or facts.name


def place_of(name: str) -> str:
    """Another model by the name that transformers loads it by, a folder with its whole path."""
    folder = Path(name).expanduser()
    if folder.exists():
        return str(folder.resolve() if folder.is_dir() else folder.resolve().parent)
    row = find(name)
    return (row or {}).get("hub_id") or name


def data_place(planned: Planned) -> str:
    return str(Path(planned.question.data or "").expanduser().resolve())


def _model(planned: Planned) -> list[Key | None]:
    question, recipe = planned.question, planned.recipe
    return [
        Key("model_name_or_path", model_place(planned), "a name on the hub, or a folder"),
        Key("dataset_name", data_place(planned), "a file or folder"),
        Key("teacher_model_name_or_path", place_of(question.teacher or ""), "what it learns from")
        if recipe.objective in TAUGHT
        else None,
        Key("text_columns", question.text_columns) if question.text_columns else None,
        Key("classes", recipe.classes) if recipe.classes else None,
        Key("trust_remote_code", True) if question.trust_remote_code else None,
        Key("from_scratch", True, "random weights") if planned.strategy == "scratch" else None,
        Key("stack", question.stack or DEFAULT, "whose loop the plan is of")
        if recipe.objective in (None, DISTILLED)
        else None,
    ]


def _weights(planned: Planned) -> list[Key | None]:
    recipe = planned.recipe
    load = recipe.load_in or ("4bit" if recipe.strategy == "qlora" else None)
    return [
        Key("dtype", WEIGHTS.get(recipe.precision, "float32"), "of the weights"),
        Key("attn_implementation", _attention(planned)),
        Key("load_in_4bit", True, "NF4, by bitsandbytes") if load == "4bit" else None,
        Key("load_in_8bit", True, "by bitsandbytes") if load == "8bit" else None,
        Key("kbit_preparation", preparation(planned.question)) if load else None,
    ]


def _attention(planned: Planned) -> str:
    """As it was asked: a recipe knows one fused attention only."""
    question = planned.question
    asked = "attention" in question.model_fields_set
    name = question.attention if asked else planned.recipe.attention
    return ATTENTION.get(name, name)


def _adapters(planned: Planned) -> list[Key | None]:
    recipe, question = planned.recipe, planned.question
    if not recipe.lora_rank:
        return [Key("use_peft", False)]
    rank, method = recipe.lora_rank, method_of(recipe.adapter)
    lists = {
        "lora_exclude_modules": recipe.lora_exclude,
        "lora_layers_to_transform": recipe.lora_layers,
        "lora_layers_pattern": recipe.lora_layers_pattern,
        "lora_modules_to_save": recipe.lora_modules_to_save,
        "lora_rank_pattern": recipe.lora_rank_pattern,
    }
    targets = list(recipe.lora_targets) if recipe.lora_targets else "all-linear"
    return [
        Key("use_peft", True),
        Key("lora_r", rank),
        Key("lora_alpha", question.lora_alpha or 2 * rank, "changes no cost"),
        Key("lora_dropout", recipe.lora_dropout or 0.0),
        Key("lora_target_modules", targets),
        *(Key(name, value) for name, value in arguments(method).items()),
        *(Key(name, list(value)) for name, value in lists.items() if value),
        Key("autocast_adapter_dtype", False, "adapters in the weights' number format")
        if recipe.adapter_precision == "weights" and recipe.objective in (None, DISTILLED)
        else None,
    ]


def _parts(planned: Planned) -> list[Key | None]:
    if planned.strategy == "feature_extraction":
        return [Key("unfrozen_blocks", 0, "the head alone trains")]
    if planned.strategy == "partial_fine_tune":
        return [Key("unfrozen_blocks", planned.recipe.unfrozen_blocks or 0, "and the head")]
    return []


def _lengths(planned: Planned) -> list[Key | None]:
    choices = planned.option.choices
    grouped = Key("train_sampling_strategy", "group_by_length")
    return [
        Key("max_length", choices.max_length, "tokens"),
        Key("packing", choices.padding == "packed"),
        Key("pad_to_max_length", True) if choices.padding == "max" else None,
        grouped if choices.group_by_length else None,
    ]


def _steps(planned: Planned) -> list[Key | None]:
    setting, run = planned.option.setting, planned.option.run
    return [
        Key("per_device_train_batch_size", setting.micro_batch),
        Key("gradient_accumulation_steps", setting.accumulation),
        Key("num_train_epochs", run.epochs),
        Key("max_steps", run.steps, "they end the run, whatever the epochs"),
        Key("dataloader_num_workers", planned.loader_workers),
    ]


def _step(planned: Planned) -> list[Key | None]:
    recipe, stack = planned.recipe, planned.stack
    mixed = AUTOCAST.get(recipe.precision)
    return [
        Key("bf16", mixed == "bf16", "autocast"),
        Key("fp16", mixed == "fp16"),
        Key("tf32", True) if recipe.precision == "tf32" else None,
        *trainer_keys(recipe.optimizer),
        Key("max_grad_norm", clipped_at(planned.question), "0: gradients are not clipped"),
        Key("gradient_checkpointing", recipe.gradient_checkpointing == "full"),
        Key("torch_compile", True) if recipe.compile else None,
        Key("use_cpu", True) if planned.option.rented.spec.one_clock else None,
        Key("use_liger_kernel", True) if stack.trainer == "liger" else None,
    ]


def _evaluations(planned: Planned) -> list[Key | None]:
    run = planned.option.run
    made = run.evaluated
    if not run.evaluations or made is None:
        return [Key("eval_strategy", "no")]
    return [
        Key("eval_strategy", "steps"),
        Key("eval_steps", every(planned.steps, run.evaluations)),
        Key("per_device_eval_batch_size", made.batch),
        Key("evaluation_samples", made.samples, "held out of the data"),
    ]


def _savings(planned: Planned) -> list[Key | None]:
    if not planned.savings:
        return [Key("save_strategy", "no")]
    return [
        Key("save_strategy", "steps"),
        Key("save_steps", math.ceil(planned.steps / planned.savings), "and at its end"),
    ]


def _places() -> list[Key | None]:
    return [
        Key("output_dir", "out"),
        Key("report_to", "none", "wandb, mlflow, tensorboard …"),
    ]


def every(steps: int, times: float) -> int:
    """Steps between evaluations of a run that makes so many, as near as whole steps come."""
    near = steps / max(1, round(times))
    return min(
        (max(1, math.floor(near)), math.ceil(near)), key=lambda one: abs(steps // one - times)
    )
