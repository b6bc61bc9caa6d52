"""axolotl's YAML (https://docs.axolotl.ai/docs/config-reference.html, 2026-11).

Read for what changes time, memory and money. Weights are loaded in the half type that ``bf16`` or
``fp16`` names (axolotl's ``torch_dtype``), so ``bf16`` is pure bfloat16 here; gradients of float16
weights cannot be unscaled, so full fine-tuning under ``fp16`` keeps float32 weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from planner.question.importers import Imported, Importer, Keys
from planner.question.importers.keys import listed, whole
from planner.question.importers.shared import (
    put_adapters,
    put_batch,
    put_method,
    put_model,
    put_targets,
)
from planner.question.importers.table import table

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
ATTENTION = {
    "flash_attention": "flash",
    "flex_attention": "flex",
    "sdp_attention": "sdpa",
    "eager_attention": "eager",
}
#: Loaders of the library ``datasets``: then ``data_files`` is the data.
LOADERS = ("arrow", "csv", "json", "parquet", "text")
ADAPTERS = ("lora", "qlora")
METHODS = {"dora": "peft_use_dora", "rslora": "peft_use_rslora"}
#: What is said of one dataset that changes no cost: which of its columns are read, and how.
DATA = ("datasets", "pretraining_dataset")
READ_ALREADY = ("path", "data_files")


def read(document: Mapping[str, Any], gpus: int) -> Imported:
    """The question of axolotl's file."""
    keys = Keys(document, table("axolotl"))
    put_model(keys, "base_model")
    _data(keys)
    adapted = _strategy(keys)
    _precision(keys, adapted=adapted)
    _batch(keys, gpus)
    _padding(keys)
    for key, name in ATTENTION.items():
        if keys.take(key):
            keys.put("attention", name, key)
    _evaluation(keys)
    if deepspeed := keys.take("deepspeed"):
        keys.refer("deepspeed", deepspeed, "deepspeed")
    return keys.imported()


def _data(keys: Keys) -> None:
    """The first dataset is counted; the others are listed."""
    for key in DATA:
        entries = listed(keys.take(key))
        for number, entry in enumerate(entries):
            at = f"{key}[{number}]" if any(isinstance(one, dict) for one in entries) else key
            path = _path(entry)
            if path and number == 0:
                keys.put("data", path, f"{at}.path" if isinstance(entry, dict) else at)
            else:
                keys.leave_out(at)


def _path(entry: Any) -> str | None:
    if not isinstance(entry, dict):
        return entry if isinstance(entry, str) else None
    keys = cast("dict[str, Any]", entry)
    path, files = keys.get("path"), listed(keys.get("data_files"))
    if path in LOADERS and files:
        path = files[0] if len(files) == 1 else None
    return path if isinstance(path, str) else None


def _strategy(keys: Keys) -> bool:
    """Whether adapters train."""
    adapter = keys.take("adapter")
    if adapter in ADAPTERS:
        put_adapters(keys, "adapter", four_bit="load_in_4bit", eight_bit="load_in_8bit")
        if adapter == "qlora":
            keys.put("strategy", ["qlora"], "adapter")
        if not keys.take("lora_target_linear"):
            put_targets(keys, "lora_target_modules")
        keys.take("lora_target_modules")
        put_method(keys, METHODS, "peft_init_lora_weights")
        return True
    if adapter is None:
        keys.put("strategy", ["fine_tune"], "adapter")
    else:
        keys.leave_out("adapter")
    for key in ("load_in_4bit", "load_in_8bit"):
        (keys.leave_out if keys.take(key) else keys.harmless)(key)
    for key in ("lora_target_linear", "lora_target_modules", "lora_r", "lora_alpha"):
        keys.harmless(key)
    for key in ("lora_dropout", "lora_modules_to_save", *METHODS.values()):
        keys.harmless(key)
    keys.harmless("peft_init_lora_weights")
    return False


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


def _batch(keys: Keys, gpus: int) -> None:
    """``batch_size`` is the whole batch, an older way to say how often it accumulates."""
    put_batch(keys, "gradient_accumulation_steps", "micro_batch_size", gpus)
    if (size := keys.take("batch_size")) is not None:
        keys.put("global_batch", size, "batch_size")


def _padding(keys: Keys) -> None:
    packed, filled = keys.take("sample_packing"), keys.take("pad_to_sequence_len")
    if packed is True:
        keys.put("padding", "packed", "sample_packing")
    elif packed:
        keys.leave_out("sample_packing")
    elif filled:
        keys.put("padding", "max", "pad_to_sequence_len")


def _evaluation(keys: Keys) -> None:
    """A share of the data held out is no number of samples: it is listed, as is what else says how
    often."""
    held_out = keys.take("val_set_size")
    if held_out is None:
        return
    if held_out == 0:
        keys.put("evaluations_per_epoch", 0, "val_set_size")
    elif whole(held_out):
        keys.put("evaluation_samples", held_out, "val_set_size")
    else:
        keys.leave_out("val_set_size")


IMPORTER = Importer(
    "axolotl",
    lambda keys: "base_model" in keys and not SIGNS.isdisjoint(keys),
    read,
    stack="axolotl",
)
