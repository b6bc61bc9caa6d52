"""Names under which trainers log how they were set, and the record's names for the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.ledger.importers.text import lenient
from planner.ledger.model_setup import ATTENTION, in_folder, optimizer_named, without_unknown

#: The first name of a list that is there counts. Hugging Face's, TRL's and Lightning's names, and
#: what people write.
COUNTS = {
    "micro_batch": (
        "per_device_train_batch_size",
        "micro_batch_size",
        "micro_batch",
        "train_micro_batch_size_per_gpu",
        "device_batch_size",
    ),
    "accumulation": ("gradient_accumulation_steps", "accumulate_grad_batches", "grad_accum"),
    "sequence_length": (
        "max_seq_length",
        "max_seq_len",
        "max_length",
        "sequence_length",
        "seq_length",
        "block_size",
        "model_max_length",
    ),
    "image_size": ("image_size", "img_size"),
    "gpus": ("world_size", "num_gpus", "n_gpus", "gpu_count", "_world_size"),
    "lora_rank": ("lora_r", "lora_rank", "peft_config.default.r", "peft_config/default/r"),
    "classes": ("num_classes", "num_labels"),
    "samples": ("train_samples", "max_train_samples", "num_train_samples"),
}
NUMBERS = {
    "epochs": ("num_train_epochs", "epochs", "max_epochs"),
    "lora_dropout": ("lora_dropout", "peft_config.default.lora_dropout"),
}
MODEL = (
    "model_name_or_path",
    "model_name",
    "_name_or_path",
    "base_model_name_or_path",
    "model_id",
    "model",
)
#: A length that is a limit, not what was run: only packed or padded batches have it.
LIMITS = ("max_seq_length", "max_seq_len", "max_length", "model_max_length")


def setup_of(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """(setup, notes) out of logged parameters; what is not understood is passed over."""
    notes: list[str] = []
    found: dict[str, Any] = {name: _whole(values, names) for name, names in COUNTS.items()}
    found |= {name: lenient(_first(values, names)) for name, names in NUMBERS.items()}
    if found["epochs"] is not None and (lenient(values.get("max_steps")) or 0) > 0:
        found["epochs"] = None  # the steps decided
    if found["sequence_length"] and _first(values, COUNTS["sequence_length"]) == _first(
        values, LIMITS
    ):
        notes.append(
            f"the sequences' length is the limit {found['sequence_length']}; what was run may "
            "have been shorter"
        )
    model = _text(values, MODEL)
    found |= {
        "model": in_folder(model) if model else None,
        "precision": _precision(values),
        "optimizer": _optimizer(values),
        "gradient_checkpointing": _checkpointing(values),
        "compile": _flag(values.get("torch_compile")),
        "attention": ATTENTION.get(
            str(_first(values, ("attn_implementation", "_attn_implementation")))
        ),
    }
    return without_unknown(found), notes


def _first(values: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next(
        (values[name] for name in names if values.get(name) not in (None, "", "None")), None
    )


def _text(values: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    value = _first(values, names)
    return value if isinstance(value, str) and len(value) < 300 else None


def _whole(values: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    value = lenient(_first(values, names))
    return int(value) if value is not None and value == int(value) and value < 2**53 else None


def _flag(value: Any) -> bool | None:
    return (
        {"true": True, "false": False, "1": True, "0": False}.get(str(value).lower())
        if value is not None
        else None
    )


def _precision(values: Mapping[str, Any]) -> str | None:
    """Mixed precision as trainers switch it on, where nothing says that the weights are half too;
    ``None`` when it is off, as the weights' type is not logged then."""
    weights = str(_first(values, ("torch_dtype", "dtype")) or "").removeprefix("torch.")
    if weights in ("bfloat16", "float16"):
        return {"bfloat16": "bf16", "float16": "fp16"}[weights]
    lightning = str(values.get("precision") or "")
    if lightning in ("bf16-mixed", "16-mixed", "bf16-true", "16-true", "32-true", "32"):
        return {
            "bf16-mixed": "amp_bf16",
            "16-mixed": "amp_fp16",
            "bf16-true": "bf16",
            "16-true": "fp16",
        }.get(lightning, "fp32")
    if weights == "float32":
        half = (
            "bf16" if _flag(values.get("bf16")) else "fp16" if _flag(values.get("fp16")) else None
        )
        return (
            f"amp_{half}"
            if half
            else "tf32"
            if _flag(values.get("tf32"))
            else None
            if values.get("bf16") is None
            else "fp32"
        )
    return None


def _optimizer(values: Mapping[str, Any]) -> str | None:
    name = _text(values, ("optim", "optimizer"))
    return optimizer_named(name.rpartition(".")[2].lower()) if name else None


def _checkpointing(values: Mapping[str, Any]) -> str | None:
    flag = _flag(_first(values, ("gradient_checkpointing", "activation_checkpointing")))
    return None if flag is None else "full" if flag else "none"
