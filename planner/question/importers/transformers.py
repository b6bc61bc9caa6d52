"""transformers' TrainingArguments and TRL's configurations, as YAML, JSON or a command line.

TRL's own keys are told from the Trainer's: its defaults (length, checkpointing, precision) are
others.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, cast

from planner import tables
from planner.errors import FieldName
from planner.question.importers import Imported, Importer, Keys
from planner.question.importers.keys import listed, unset
from planner.question.importers.shared import (
    put_adapters,
    put_batch,
    put_method,
    put_model,
    put_rhythm,
    put_stack,
    put_targets,
    put_trainer_precision,
)
from planner.question.importers.table import table

#: Methods of adapters by the switches of TRL's ModelConfig.
METHODS = {"dora": "use_dora", "rslora": "use_rslora"}
#: PEFT's own name of how LoRA begins, which scripts of recipes have.
BEGINS = "init_lora_weights"
#: One of these tells a Trainer's file from others; with more, that of a tool built on it.
SIGNS = frozenset(
    {
        "gradient_accumulation_steps",
        "model_name_or_path",
        "num_train_epochs",
        "per_device_train_batch_size",
    }
)
NOT_OURS = frozenset(
    {
        *("base_model", "cutoff_len", "finetuning_type", "lora_target", "stage", "model_name"),
        *("train_micro_batch_size_per_gpu", "zero_optimization", "training", "trainer"),
        "pretrained_model_name_or_path",
    }
)
#: Keys that only TRL's configurations have.
OF_TRL = frozenset(
    {
        *("assistant_only_loss", "beta", "completion_only_loss", "dataset_mixer"),
        *("dataset_mixture", "dataset_text_field", "dataset_train_split", "lora_r"),
        *("max_prompt_length", "model_init_kwargs", "num_generations", "packing", "use_peft"),
        *("lora_target_modules", "eos_token", "padding_free"),
    }
)
TYPES = ("torch_dtype", "dtype", "model_init_kwargs.torch_dtype", "model_init_kwargs.dtype")
#: Commands of TRL that train by preference or reward.
OTHER_TRAINING = ("dpo", "grpo", "kto", "reward", "rloo")
#: Scripts of TRL's that train a student, and their objectives.
STUDENTS = {"gkd": "gkd", "distillation": "on_policy_distillation"}


def read(document: Mapping[str, Any], gpus: int) -> Imported:
    """The question of a Trainer's or of TRL's file."""
    own = OF_TRL.union(_telling())
    trl = not own.isdisjoint(document) or "trl" in str(document.get("(script)", ""))
    keys = Keys(document, table("trl", "transformers") if trl else table("transformers"))
    own = document.get("_n_gpu")
    gpus = max(gpus, own) if isinstance(own, int) else gpus
    put_model(keys, "model_name_or_path")
    adapted = _strategy(keys, document, trl=trl)
    put_trainer_precision(keys, adapted=adapted, loaded=TYPES)
    put_batch(keys, "gradient_accumulation_steps", "per_device_train_batch_size", gpus)
    put_evaluation(keys)
    put_rhythm(keys, strategy=("save_strategy",), steps="save_steps", field="saves_per_epoch")
    put_data(keys)
    put_sharding(keys)
    _objective(keys, document, trl=trl)
    loop = keys.take("stack")  # a recipe of ours says whose loop runs it
    if isinstance(loop, str):
        keys.put("stack", loop, "stack")
    else:
        put_stack(keys, "trl" if trl else "trainer", "use_liger_kernel")
    return keys.imported()


def put_evaluation(keys: Keys) -> None:
    """Without a strategy, the Trainer evaluates never."""
    put_rhythm(
        keys,
        strategy=("eval_strategy", "evaluation_strategy"),
        steps="eval_steps",
        field="evaluations_per_epoch",
    )


def put_data(keys: Keys) -> None:
    """The first of several datasets is counted, the others are listed."""
    for key in ("dataset_name", "dataset_mixture", "dataset_mixer"):
        value = keys.take(key)
        if isinstance(value, str):
            keys.put("data", value, key)
        elif value is not None:
            keys.leave_out(key)


def put_sharding(keys: Keys) -> None:
    """``deepspeed`` names a file or holds its settings; of FSDP its full shard can be asked."""
    deepspeed = keys.take("deepspeed")
    if deepspeed:
        keys.refer("deepspeed", deepspeed, "deepspeed")
    said = keys.take("fsdp")
    fsdp = [word for part in listed(said) for word in str(part or "").split()]
    hybrid = "hybrid_shard" in fsdp
    full = (hybrid != ("full_shard" in fsdp)) and set(fsdp) <= FULL_WORDS
    # since 5.20 a yes alone, and how it shares in fsdp_config
    full = full or (said is True and _is_full(keys.take("fsdp_config")))
    if full:
        keys.put("parallel", "hsdp" if hybrid else "fsdp", "fsdp")
        if "offload" in fsdp:
            keys.put("offload", ["weights"], "fsdp")
        elif keys.take("fsdp_config.cpu_offload"):
            keys.put("offload", ["weights"], "fsdp_config.cpu_offload")
        for key in ("fsdp_transformer_layer_cls_to_wrap", *FULL_SHARD):
            keys.harmless(key)
        keys.leave_out_rest("fsdp_config")
        return
    for key in ("fsdp_config", "fsdp_transformer_layer_cls_to_wrap"):
        keys.take(key)
        (keys.leave_out if fsdp else keys.harmless)(key)
    if fsdp:
        keys.leave_out("fsdp")


#: Words of ``fsdp`` that are planned.
FULL_WORDS = {"full_shard", "hybrid_shard", "auto_wrap", "offload"}
#: Keys of ``fsdp_config`` that say no more than what is planned.
FULL_SHARD = tuple(
    f"fsdp_config.{name}"
    for name in (
        *("version", "auto_wrap_policy", "reshard_after_forward", "state_dict_type"),
        *("transformer_layer_cls_to_wrap", "cpu_ram_efficient_loading", "backward_prefetch"),
    )
)


def _is_full(config: Any) -> bool:
    """Whether all state is in parts, block by block, as the Trainer shares without more words."""
    if not isinstance(config, Mapping):
        return config is None
    config = cast("Mapping[str, Any]", config)
    return (
        config.get("reshard_after_forward", True) is True
        and config.get("auto_wrap_policy", "TRANSFORMER_BASED_WRAP") == "TRANSFORMER_BASED_WRAP"
    )


def _strategy(keys: Keys, document: Mapping[str, Any], *, trl: bool) -> bool:
    """Whether adapters train. The arguments of a Trainer do not say it."""
    peft = keys.take("use_peft")
    names = ("lora_r", "lora_alpha", "lora_dropout", "lora_modules_to_save")
    if peft:
        put_adapters(keys, "use_peft", four_bit="load_in_4bit", eight_bit="load_in_8bit")
        fields = ("lora_rank", "lora_alpha", "lora_dropout", "lora_modules_to_save")
        for key, field in zip(names, fields, strict=True):
            if (value := keys.take(key)) is not None:
                keys.put(field, value, key)
        put_targets(keys, "lora_target_modules")
        put_method(keys, METHODS, BEGINS)
        if not document.get("lora_target_modules"):
            keys.grant("lora_targets", "lora_target_modules PEFT's own (here every linear layer)")
        return True
    for key in (*names, "lora_target_modules", *METHODS.values(), BEGINS):
        keys.harmless(key)
    for key in ("load_in_4bit", "load_in_8bit"):
        (keys.leave_out if keys.take(key) else keys.harmless)(key)
    if trl or "model_name_or_path" in document:
        keys.put("strategy", ["fine_tune"], "use_peft")
    return False


def _objective(keys: Keys, document: Mapping[str, Any], *, trl: bool) -> None:
    """A script of TRL's that trains by preference, reward or a teacher names its objective; without
    such a name the keys tell it that only some configurations have, which is said."""
    script = str(keys.take("(script)") or "").removesuffix(".py").removeprefix("trl ")
    if script in (*OTHER_TRAINING, *STUDENTS):
        keys.put("objective", STUDENTS.get(script, script), "(script)")
        return
    told = {key: names for key, names in _telling().items() if not unset(document.get(key))}
    if not trl or not told or script == "sft":
        return
    common = [name for name in min(told.values(), key=len) if all(name in o for o in told.values())]
    first = min(told, key=lambda key: len(told[key]))
    objective = (common or told[first])[0]
    several = common[1:]
    text = f"{', '.join(told)} {'are' if len(told) > 1 else 'is'} of {' and '.join(common)}"
    if not common:
        text = f"{', '.join(told)} are of several trainings"
    chosen = f", of which {objective} is taken" if several or not common else ""
    keys.conclude(
        "objective", objective, first, f"{text}{chosen} ({FieldName('objective')} says another)"
    )


@cache
def _telling() -> dict[str, list[str]]:
    """Key → the objectives whose configurations have it, the one that is taken first."""
    rows = tables.rows("importers", "trl_objectives.csv")
    return {row["key"]: row["objectives"].split() for row in rows}


IMPORTER = Importer(
    "transformers",
    lambda keys: not SIGNS.isdisjoint(keys) and NOT_OURS.isdisjoint(keys),
    read,
)
