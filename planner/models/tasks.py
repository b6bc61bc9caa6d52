"""Which task a config is trained on when the question does not say, and what its fields mean under
the families' many names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.errors import FieldName, ModelError, nearest
from planner.models.configs import SYNONYMS, model_types
from planner.models.constants import constant, has

#: The end of a transformers class name → the task it is for. Longer ends first.
ARCHITECTURE_TASKS = (
    ("ForSequenceClassification", "text_classification"),
    ("ForTokenClassification", "token_classification"),
    ("ForImageClassification", "image_classification"),
    ("ForAudioClassification", "audio_classification"),
    ("ForSpeechSeq2Seq", "speech_recognition"),
    ("ForCausalLM", "causal_lm"),
    ("LMHeadModel", "causal_lm"),
)

#: Where a class name does not decide, the first of these that the library can train the model type
#: on.
PREFERENCE = (
    "contrastive",
    "speech_recognition",
    "image_classification",
    "audio_classification",
    "seq2seq_lm",
    "text_classification",
    "causal_lm",
    "masked_lm",
    "token_classification",
)

MODALITY = {
    "image_classification": "image",
    "audio_classification": "audio",
    "speech_recognition": "audio",
    "contrastive": "image_text",
}


def choose_task(
    config: Mapping[str, Any], task: str | None, where: str
) -> tuple[str, tuple[str, ...]]:
    """The task and what was assumed to choose it. Raises ModelError for a task that the model type
    has no class for."""
    possible = model_types().get(config["model_type"], frozenset())
    if task is not None:
        if possible and task not in possible:
            raise ModelError(
                f"a {config['model_type']} model cannot be trained on the task {task!r}",
                where=where,
                mend=f"It can be trained on: {', '.join(sorted(possible))}",
            )
        return task, ()
    names = [name for name in config.get("architectures") or [] if isinstance(name, str)]
    for end, found in ARCHITECTURE_TASKS:
        if any(name.endswith(end) for name in names) and (not possible or found in possible):
            return found, ()
    found = next((name for name in PREFERENCE if name in possible), None)
    if found is None:
        raise ModelError(
            f"no training task is known for model type {config['model_type']!r}",
            where=where,
            mend=f"Give {FieldName('task')}, or a factory package.module:function",
        )
    return found, (
        f"task {found}: the usual one for a {config['model_type']} model ({FieldName('task')} "
        "changes it)",
    )


def modality_of(task: str) -> str:
    return MODALITY.get(task, "text")


def check_task(task: str | None, only: str, where: str) -> str:
    if task not in (None, only):
        raise ModelError(
            f"trains on {only}, not on {task!r}",
            where=where,
            mend=f"Leave {FieldName('task')} out"
            + (f" or use {only}" if nearest(task, [only]) else ""),
        )
    return only


def config_field(config: Mapping[str, Any], *names: str) -> Any:
    """The first of the names that the config, or its text part, holds; None where none does."""
    for part in (config, config.get("text_config") or {}):
        for name in names:
            if isinstance(part, Mapping) and part.get(name) is not None:
                return part[name]
    return None


def describe(config: Mapping[str, Any], task: str) -> dict[str, Any]:
    """The ModelFacts fields that a config states: max_length (tokens), image_size (pixels), blocks,
    vocabulary, weights_dtype."""
    own_vision = config.get("vision_config")
    vision = own_vision if isinstance(own_vision, Mapping) else config
    image = vision.get("image_size") if modality_of(task) in ("image", "image_text") else None
    length = (
        config_field(config, "max_position_embeddings", "n_positions", "max_target_positions")
        if modality_of(task) != "image"
        else None
    )
    family = config["model_type"]
    if length and has("reserved_positions", family):
        length -= int(constant("reserved_positions", family))
    if has("relative_positions", family):
        length = None
    return {
        "max_length": length,
        "image_size": max(image) if isinstance(image, list) else image,
        "blocks": config_field(
            config,
            "num_hidden_layers",
            "n_layer",
            "n_layers",
            "num_decoder_layers",
            "decoder_layers",
            "num_layers",
            "encoder_layers",
        ),
        "vocabulary": config_field(config, "vocab_size")
        if modality_of(task) in ("text", "image_text") or task == "speech_recognition"
        else None,
        "weights_dtype": config.get("dtype") or config.get("torch_dtype"),
    }


def unstated_sizes(config: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """The assumption that a config without any size forces: the library fills in its family's
    defaults."""
    sizes = {SYNONYMS.get(key, key) for key in config}
    parts = any(
        isinstance(value, Mapping) and key.endswith("_config") for key, value in config.items()
    )
    if parts or sizes & {
        "hidden_size",
        "num_hidden_layers",
        "hidden_sizes",
        "depths",
        "embed_dim",
        "embed_dims",
        "block_sizes",
    }:
        return ()
    return (
        f"{where} states neither width nor depth: the library's defaults for a "
        f"{config['model_type']} model were taken",
    )
