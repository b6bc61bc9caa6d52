"""LLaMA-Factory's YAML.

Weights are loaded in half precision where ``bf16`` or ``fp16`` says so; full fine-tuning makes the
trained ones float32 unless ``pure_bf16``. Checkpointing is on unless it is disabled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.question.importers import Imported, Importer, Keys
from planner.question.importers.keys import listed, whole
from planner.question.importers.shared import (
    put_batch,
    put_float8,
    put_method,
    put_model,
    put_rhythm,
    put_stack,
    put_targets,
    put_trainer_precision,
)
from planner.question.importers.table import table
from planner.question.importers.transformers import put_evaluation, put_sharding

SIGNS = frozenset(
    {"cutoff_len", "finetuning_type", "lora_target", "quantization_bit", "stage", "template"}
)

#: Stages, and the objectives that they train by; those of the task's own loss.
STAGES = {"dpo": "dpo", "kto": "kto", "rm": "reward", "ppo": "ppo"}
SUPERVISED = ("sft", "pt")
METHODS = {"dora": "use_dora", "pissa": "pissa_init", "rslora": "use_rslora"}
OF_LORA = (
    *("lora_rank", "lora_alpha", "lora_dropout", "lora_target", "additional_target"),
    *METHODS.values(),
)
OF_OFT = ("oft_block_size", "oft_rank", "oft_target", "module_dropout")


def read(document: Mapping[str, Any], gpus: int) -> Imported:
    """The question of LLaMA-Factory's file."""
    keys = Keys(document, table("llamafactory", "transformers"))
    put_model(keys, "model_name_or_path")
    adapted = _strategy(keys)
    _precision(keys, adapted=adapted)
    put_float8(keys, "fp8", adapted=adapted, backend="fp8_backend")
    put_batch(keys, "gradient_accumulation_steps", "per_device_train_batch_size", gpus)
    _packing(keys, document.get("stage"))
    _objective(keys)
    _data(keys)
    _held_out(keys)
    put_evaluation(keys)
    put_rhythm(keys, strategy=("save_strategy",), steps="save_steps", field="saves_per_epoch")
    put_sharding(keys)
    put_stack(keys, "llama_factory", "enable_liger_kernel")
    return keys.imported()


def _objective(keys: Keys) -> None:
    """DPO's stage trains by other losses too: ORPO's and SimPO's hold no reference."""
    stage, loss = keys.take("stage"), keys.take("pref_loss")
    objective = STAGES.get(str(stage))
    if stage == "dpo" and loss == "orpo":
        objective = loss
    elif stage == "dpo" and loss == "simpo":
        keys.leave_out("pref_loss")
        objective = None
    if objective is not None:
        keys.put("objective", objective, "stage")
    elif stage is not None and stage not in SUPERVISED:
        keys.leave_out("stage")


def _strategy(keys: Keys) -> bool:
    """Whether adapters train; LoRA where the file does not say."""
    kind, bits = keys.take("finetuning_type"), keys.take("quantization_bit")
    for key in OF_OFT if kind != "oft" else ():
        keys.harmless(key)
    if kind in (None, "lora", "oft"):
        _bits(keys, bits)
        (_oft if kind == "oft" else _lora)(keys)
        return True
    if kind == "full":
        keys.put("strategy", ["fine_tune"], "finetuning_type")
    elif kind == "freeze":
        _blocks(keys)
    else:
        keys.leave_out("finetuning_type")
    if bits:
        keys.leave_out("quantization_bit")
    for key in OF_LORA:
        keys.harmless(key)
    return kind not in ("full", "freeze")


def _bits(keys: Keys, bits: Any) -> None:
    """The strategy of adapters, over weights in so many bits."""
    if bits == 4:
        keys.put("strategy", ["qlora"], "quantization_bit")
        keys.put("kbit_preparation", "none", "quantization_bit")
    else:
        keys.put("strategy", ["lora"], "finetuning_type")
        if bits == 8:
            keys.put("load_in", "8bit", "quantization_bit")
            keys.put("kbit_preparation", "none", "quantization_bit")
        elif bits:
            keys.leave_out("quantization_bit")


def _lora(keys: Keys) -> None:
    for key, field in (
        ("lora_rank", "lora_rank"),
        ("lora_alpha", "lora_alpha"),
        ("lora_dropout", "lora_dropout"),
        ("additional_target", "lora_modules_to_save"),
    ):
        if (value := keys.take(key)) is not None:
            keys.put(field, value, key)
    put_targets(keys, "lora_target")
    put_method(keys, METHODS)


def _oft(keys: Keys) -> None:
    """Its blocks by their size; a number of blocks instead cannot be asked."""
    keys.put("adapter", "oft", "finetuning_type")
    size, blocks = keys.take("oft_block_size"), keys.take("oft_rank")
    if blocks:
        keys.leave_out("oft_rank")
    elif size:
        keys.put("adapter_block_size", size, "oft_block_size")
    if keys.take("module_dropout"):
        keys.leave_out("module_dropout")
    put_targets(keys, "oft_target")
    if (value := keys.take("additional_target")) is not None:
        keys.put("lora_modules_to_save", value, "additional_target")
    for key in OF_LORA[:4] + tuple(METHODS.values()):
        keys.harmless(key)


def _blocks(keys: Keys) -> None:
    """The last blocks train; a negative number means the first, which cannot be asked."""
    keys.put("strategy", ["partial_fine_tune"], "finetuning_type")
    blocks = keys.take("freeze_trainable_layers")
    if whole(blocks) and blocks > 0:
        keys.put("unfrozen_blocks", blocks, "freeze_trainable_layers")
    else:
        keys.leave_out("freeze_trainable_layers")


def _precision(keys: Keys, *, adapted: bool) -> None:
    if keys.take("pure_bf16") is True:
        keys.take("bf16")
        keys.put("precision", "bf16", "pure_bf16")
    else:
        put_trainer_precision(keys, adapted=adapted, loaded=())


def _packing(keys: Keys, stage: Any) -> None:
    """Pretraining packs unless told otherwise."""
    packing, neat = keys.take("packing"), keys.take("neat_packing")
    if packing is None and stage == "pt":
        keys.put("padding", "packed", "packing")
    elif packing or neat:
        keys.put("padding", "packed", "packing" if packing else "neat_packing")


def _data(keys: Keys) -> None:
    """The first of several names is counted; with others the key is listed."""
    value = keys.take("dataset")
    names = [name.strip() for name in value.split(",")] if isinstance(value, str) else listed(value)
    if names and isinstance(names[0], str):
        keys.put("data", names[0], "dataset")
        if len(names) > 1:
            keys.leave_out("dataset")


def _held_out(keys: Keys) -> None:
    """A share of the data is no number of samples."""
    size = keys.take("val_size")
    if size is None or size == 0:
        return
    if whole(size) and size > 1:
        keys.put("evaluation_samples", size, "val_size")
    else:
        keys.leave_out("val_size")


IMPORTER = Importer(
    "LLaMA-Factory",
    lambda keys: "model_name_or_path" in keys and not SIGNS.isdisjoint(keys),
    read,
)
