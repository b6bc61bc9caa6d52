"""axolotl's YAML (https://docs.axolotl.ai/docs/config-reference.html, 2026-11).

Read for what changes time, memory and money. Weights are loaded in the half type that ``bf16`` or
``fp16`` names (axolotl's ``torch_dtype``), so ``bf16`` is pure bfloat16 here; gradients of float16
weights cannot be unscaled, so full fine-tuning under ``fp16`` keeps float32 weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from planner.question.importers import Imported, Importer, Keys, shown
from planner.question.settings import called_by

#: What else such a file has, beside ``base_model``: one of these tells it from any other.
SIGNS = frozenset(
    {
        "adapter",
        "datasets",
        "gradient_accumulation_steps",
        "micro_batch_size",
        "num_epochs",
        "pretraining_dataset",
        "sequence_len",
    }
)
#: Keys whose value is the question's, word for word.
SAME = {name: setting.name for setting, name in called_by("axolotl")} | {
    "group_by_length": "group_by_length",
    "sequence_len": "max_length",
    "max_steps": "max_steps",
    "lora_alpha": "lora_alpha",
    "evals_per_epoch": "evaluations_per_epoch",
    "saves_per_epoch": "saves_per_epoch",
    "dataloader_num_workers": "loader_workers",
    "dataset_processes": "preparation_workers",
}
#: Keys that ask for nothing where they are false.
SWITCHES = (
    "deepspeed",
    "flash_attn_cross_entropy",
    "flash_attn_fuse_mlp",
    "flash_attn_fuse_qkv",
    "flash_attn_rms_norm",
    "fsdp",
    "s2_attention",
    "xformers_attention",
)
#: Keys that change neither time, memory nor money.
WITHOUT_COST = (
    *("adam_beta1", "adam_beta2", "adam_epsilon", "chat_template", "cosine_min_lr_ratio"),
    *("dataset_prepared_path", "debug", "default_system_message", "early_stopping_patience"),
    *("eval_table_max_new_tokens", "eval_table_size", "gradient_checkpointing_kwargs"),
    *("hub_model_id", "hub_strategy", "is_falcon_derived_model", "is_llama_derived_model"),
    *("is_mistral_derived_model", "learning_rate", "local_rank", "logging_steps"),
    *("lora_fan_in_fan_out", "lora_model_dir", "loss_watchdog_patience"),
    *("loss_watchdog_threshold", "lr_scheduler", "max_grad_norm", "mlflow_experiment_name"),
    *("mlflow_tracking_uri", "model_type", "output_dir", "resume_from_checkpoint"),
    *("save_safetensors", "save_total_limit", "seed", "shuffle_merged_datasets"),
    *("special_tokens", "strict", "tokenizer_config", "tokenizer_legacy", "tokenizer_type"),
    *("tokenizer_use_fast", "train_on_inputs", "wandb_entity", "wandb_log_model", "wandb_mode"),
    *("wandb_name", "wandb_project", "wandb_run_id", "wandb_watch", "warmup_ratio"),
    *("warmup_steps", "weight_decay"),
)
ATTENTION = {
    "flash_attention": "flash",
    "sdp_attention": "sdpa",
    "eager_attention": "eager",
}
IMPLEMENTATIONS = {
    "flash_attention_2": "flash",
    "flash_attention_3": "flash",
    "sdpa": "sdpa",
    "eager": "eager",
}
#: Loaders of the library ``datasets``: then ``data_files`` is the data.
LOADERS = ("arrow", "csv", "json", "parquet", "text")
ADAPTERS = ("lora", "qlora")


def read(document: Mapping[str, Any], gpus: int) -> Imported:
    """The question of axolotl's file."""
    keys = Keys(document)
    for key, field in SAME.items():
        if (value := keys.take(key)) is not None:
            keys.put(field, value, key)
    _data(keys)
    adapted = _strategy(keys)
    _targets(keys)
    _precision(keys, adapted=adapted)
    _optimizer(keys)
    _batch(keys, document.get("micro_batch_size"), gpus)
    _padding(keys)
    _checkpointing(keys)
    _attention(keys)
    _evaluation(keys)
    _compile(keys)
    for key in SWITCHES:
        if value := keys.take(key):
            keys.leave_out(shown(key, value))
    return keys.imported(WITHOUT_COST)


def _data(keys: Keys) -> None:
    """The first dataset is counted; the others are listed."""
    for key in ("datasets", "pretraining_dataset"):
        entries = _listed(keys.take(key))
        first = _path(entries[0]) if entries else None
        if first:
            keys.put("data", first, key)
        for entry in entries[1 if first else 0 :]:
            keys.leave_out(shown(key, _path(entry) or entry))


def _listed(value: Any) -> list[Any]:
    if isinstance(value, list):
        return cast(list[Any], value)
    return [] if value is None else [value]


def _path(entry: Any) -> str | None:
    if not isinstance(entry, dict):
        return entry if isinstance(entry, str) else None
    keys = cast(dict[str, Any], entry)
    path, files = keys.get("path"), _listed(keys.get("data_files"))
    if path in LOADERS and files:
        path = files[0] if len(files) == 1 else None
    return path if isinstance(path, str) else None


def _strategy(keys: Keys) -> bool:
    """Whether adapters train."""
    adapter, four_bit = keys.take("adapter"), keys.take("load_in_4bit")
    eight_bit = keys.take("load_in_8bit")
    if adapter in ADAPTERS:
        keys.put("strategy", ["qlora" if four_bit else adapter], "adapter")
        if eight_bit and not four_bit:
            keys.put("load_in", "8bit", "load_in_8bit")
        return True
    if adapter is None:
        keys.put("strategy", ["fine_tune"], "adapter")
    else:
        keys.leave_out(shown("adapter", adapter))
    for key, asked in (("load_in_4bit", four_bit), ("load_in_8bit", eight_bit)):
        if asked:
            keys.leave_out(shown(key, asked))
    return False


def _targets(keys: Keys) -> None:
    """Every linear layer is what a question means when it names none."""
    every, modules = keys.take("lora_target_linear"), keys.take("lora_target_modules")
    if modules is None or every or modules == "all-linear":
        return
    if isinstance(modules, list | str):
        keys.put("lora_targets", modules, "lora_target_modules")
    else:
        keys.leave_out(shown("lora_target_modules", modules))


def _precision(keys: Keys, *, adapted: bool) -> None:
    """``auto`` is left to the device, as axolotl leaves it."""
    bf16, fp16 = keys.take("bf16"), keys.take("fp16")
    pure_bf16, pure_fp16, tf32 = keys.take("bfloat16"), keys.take("float16"), keys.take("tf32")
    if bf16 == "auto":
        return
    if bf16 or pure_bf16:
        keys.put("precision", "bf16", "bf16" if bf16 else "bfloat16")
    elif fp16 or pure_fp16:
        keys.put(
            "precision",
            "fp16" if adapted or pure_fp16 else "amp_fp16",
            "fp16" if fp16 else "float16",
        )
    elif tf32:
        keys.put("precision", "tf32", "tf32")
    elif bf16 is False or fp16 is False:
        keys.put("precision", "fp32", "bf16" if bf16 is False else "fp16")


def _optimizer(keys: Keys) -> None:
    """By transformers' names, which a question knows; transformers' SGD has no momentum."""
    value = keys.take("optimizer")
    if value is not None:
        keys.put("optimizer", "sgd_plain" if value == "sgd" else value, "optimizer")


def _batch(keys: Keys, micro_batch: Any, gpus: int) -> None:
    """A file says how often a device accumulates, a question how large the whole batch is."""
    steps = keys.take("gradient_accumulation_steps")
    if steps is None:
        return
    if _whole(steps) and _whole(micro_batch):
        keys.put("global_batch", steps * micro_batch * gpus, "gradient_accumulation_steps")
    else:
        keys.leave_out(shown("gradient_accumulation_steps", steps))


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _padding(keys: Keys) -> None:
    packed, filled = keys.take("sample_packing"), keys.take("pad_to_sequence_len")
    if packed is True:
        keys.put("padding", "packed", "sample_packing")
    elif packed:
        keys.leave_out(shown("sample_packing", packed))
    elif filled:
        keys.put("padding", "max", "pad_to_sequence_len")


def _checkpointing(keys: Keys) -> None:
    value = keys.take("gradient_checkpointing")
    if isinstance(value, bool):
        keys.put("gradient_checkpointing", "full" if value else "none", "gradient_checkpointing")
    elif value is not None:
        keys.leave_out(shown("gradient_checkpointing", value))


def _attention(keys: Keys) -> None:
    for key, name in ATTENTION.items():
        if keys.take(key):
            keys.put("attention", name, key)
    value = keys.take("attn_implementation")
    if value in IMPLEMENTATIONS:
        keys.put("attention", IMPLEMENTATIONS[value], "attn_implementation")
    elif value is not None:
        keys.leave_out(shown("attn_implementation", value))


def _evaluation(keys: Keys) -> None:
    """A share of the data held out is no number of samples: it is listed, as is what else says how
    often."""
    held_out = keys.take("val_set_size")
    if held_out is None:
        return
    if held_out == 0:
        keys.put("evaluations_per_epoch", 0, "val_set_size")
    elif _whole(held_out):
        keys.put("evaluation_samples", held_out, "val_set_size")
    else:
        keys.leave_out(shown("val_set_size", held_out))


def _compile(keys: Keys) -> None:
    value = keys.take("torch_compile")
    if isinstance(value, bool):
        keys.put("compile", value, "torch_compile")
    elif value is not None:
        keys.leave_out(shown("torch_compile", value))


IMPORTER = Importer(
    "axolotl", lambda keys: "base_model" in keys and not SIGNS.isdisjoint(keys), read
)
