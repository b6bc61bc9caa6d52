"""Unsloth's YAML: in sections as its studio and command line write it, or flat by the names of its
functions. Weights are loaded in four bits unless the file says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.question.importers import Imported, Importer, Keys
from planner.question.importers.shared import (
    put_adapters,
    put_batch,
    put_method,
    put_model,
    put_targets,
)
from planner.question.importers.table import table

SECTIONS = frozenset({"training", "lora"})
FLAT = frozenset({"load_in_4bit", "max_seq_length", "use_gradient_checkpointing"})
#: What a file in sections and a flat one call the same.
IN_SECTIONS = {
    "model": "model",
    "steps": "training.gradient_accumulation_steps",
    "batch": "training.batch_size",
    "targets": "lora.target_modules",
    "four_bit": "training.load_in_4bit",
    "eight_bit": "training.load_in_8bit",
    "dora": "lora.use_dora",
    "rslora": "lora.use_rslora",
}
FLATLY = {
    "model": "model_name",
    "steps": "gradient_accumulation_steps",
    "batch": "per_device_train_batch_size",
    "targets": "target_modules",
    "four_bit": "load_in_4bit",
    "eight_bit": "load_in_8bit",
    "dora": "use_dora",
    "rslora": "use_rslora",
}
METHODS = ("dora", "rslora")
#: What trains where a section does not say it.
FULL = ("full", "full finetuning")
FREEZING = (
    "lora.finetune_vision_layers",
    "lora.finetune_language_layers",
    "lora.finetune_attention_modules",
    "lora.finetune_mlp_modules",
)


def read(document: Mapping[str, Any], gpus: int) -> Imported:
    """The question of Unsloth's file."""
    sections = isinstance(document.get("training"), Mapping)
    names = IN_SECTIONS if sections else FLATLY
    # flat files take TRL's arguments besides
    keys = Keys(document, table("unsloth", *(() if sections else ("trl", "transformers"))))
    put_model(keys, names["model"])
    _strategy(keys, names, full=_is_full(keys))
    put_batch(keys, names["steps"], names["batch"], gpus)
    for key in ("training.save_steps", "training.eval_steps"):
        (keys.leave_out if keys.take(key) else keys.harmless)(key)
    return keys.imported()


def _is_full(keys: Keys) -> bool:
    kind = str(keys.take("training.training_type") or "").lower()
    return kind in FULL or keys.take("full_finetuning") is True


def _strategy(keys: Keys, names: Mapping[str, str], *, full: bool) -> None:
    kind = keys.take("dtype")
    if kind is not None:
        keys.harmless("dtype")
    if full:
        for key in (names["four_bit"], names["eight_bit"], names["targets"], "lora", "r"):
            keys.harmless(key)
        for key in ("lora_alpha", "lora_dropout", *(names[method] for method in METHODS)):
            keys.harmless(key)
        said = keys.take("training.training_type") is not None
        keys.put("strategy", ["fine_tune"], "training.training_type" if said else "full_finetuning")
        return
    put_adapters(keys, names["targets"], four_bit=names["four_bit"], eight_bit=names["eight_bit"])
    keys.put("kbit_preparation", "none", names["four_bit"])
    put_targets(keys, names["targets"])
    put_method(keys, {method: names[method] for method in METHODS})
    _frozen(keys)


def _frozen(keys: Keys) -> None:
    """Parts of a model that are left without adapters; a model of text has no vision layers."""
    for key in FREEZING:
        (keys.leave_out if keys.take(key) is False else keys.harmless)(key)
    (keys.leave_out if keys.take("lora.vision_all_linear") else keys.harmless)(
        "lora.vision_all_linear"
    )


IMPORTER = Importer(
    "unsloth",
    lambda keys: (
        SECTIONS <= keys
        or ({"training", "model"} <= keys and "trainer" not in keys)
        or ("model_name" in keys and not FLAT.isdisjoint(keys))
    ),
    read,
    stack="unsloth",
)
