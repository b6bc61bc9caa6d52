"""An architecture given as arguments becomes what planner.models resolves: a folder with a
config.json, or a timm name."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planner.blame import raised_by_planner
from planner.errors import ModelError

#: Kinds whose position limit the measuring programs raise, so that any sequence length is allowed.
LONG_CONTEXT = ("llama", "mistral", "qwen2")
LONG_CONTEXT_POSITIONS = 131_072

TASKS = {
    "t5": "seq2seq_lm",
    "whisper": "speech_recognition",
    "wav2vec2": "audio_classification",
    "clip": "contrastive",
    "timm": "image_classification",
    "bert": "text_classification",
    "roberta": "text_classification",
    "distilbert": "text_classification",
}


def task_of(kind: str) -> str:
    """The task that a kind of architecture is trained for here: classifiers classify text, every
    other decoder models language."""
    if kind.startswith("classifier:"):
        return "text_classification"
    return TASKS.get(kind, "causal_lm")


def resolvable(model: str, architecture: Mapping[str, Any] | None, folder: Path) -> str:
    """The name to hand to ``planner.models``: the model's own, ``timm:NAME``, or a folder written
    under ``folder``.

    Imports transformers where a configuration has to be written. Raises ModelError for a kind that
    transformers lacks or arguments that it refuses, MissingExtraError without transformers.
    """
    if architecture is None:
        return model
    arguments = dict(architecture)
    kind = arguments.pop("kind")
    if kind == "timm":
        return f"timm:{model}"
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", model).strip(".")
    digest = hashlib.sha256(json.dumps(architecture, sort_keys=True).encode()).hexdigest()
    target = folder / f"{name}-{digest[:12]}"
    if not (target / "config.json").is_file():
        _write_config(kind.rpartition(":")[2], arguments, target)
    return str(target)


def _write_config(kind: str, arguments: dict[str, Any], target: Path) -> None:
    from planner.libraries import import_library

    if kind in LONG_CONTEXT:
        arguments.setdefault("max_position_embeddings", LONG_CONTEXT_POSITIONS)
    transformers = import_library("transformers", "writing a configuration")
    try:
        transformers.AutoConfig.for_model(kind, **arguments).save_pretrained(target)
    except Exception as error:  # the library's own checks raise whatever they like
        if raised_by_planner(error):
            raise
        raise ModelError(
            f"is no architecture: {' '.join(str(error).split())[:120]}",
            where=f"{kind} {target.name}",
        ) from error
