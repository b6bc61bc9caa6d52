"""Arguments of diffusers' example scripts: a saved command line, or a file of them.

Without the script's name a rank says that adapters train. Scripts of another kind (ControlNet,
distillation, text encoders of their own) cannot be asked yet: their name is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from planner.question.importers import Imported, Importer, Keys
from planner.question.importers.images import put_mixed_precision, put_optimizer, put_size
from planner.question.importers.shared import put_batch, put_model
from planner.question.importers.table import table

SCRIPT = "(script)"
#: Scripts whose training a question means: text to image, and DreamBooth.
KNOWN = re.compile(
    r"train_(text_to_image|dreambooth)(_lora)?(_sdxl|_sd3|_flux|_sana|_qwen_image|_lumina2)?\.py"
)
SIGNS = frozenset(
    {"dataset_name", "instance_data_dir", "instance_prompt", "max_train_steps", "rank"}
)
#: Keys of kohya's scripts, which name their model alike.
OF_KOHYA = frozenset(
    {
        *("caption_extension", "dataset_config", "max_data_loader_n_workers"),
        *("max_train_epochs", "network_alpha", "network_dim", "network_module"),
        *("optimizer_type", "save_model_as", "sdpa", "xformers", "save_every_n_epochs"),
    }
)


def read(document: Mapping[str, Any], gpus: int) -> Imported:
    """The question of a diffusers script's arguments."""
    script = str(document.get(SCRIPT, ""))
    dreambooth = "dreambooth" in script or "instance_prompt" in document
    keys = Keys(document, table(*(("diffusers_dreambooth",) if dreambooth else ()), "diffusers"))
    put_model(keys, "pretrained_model_name_or_path")
    adapted = _strategy(keys, script, document)
    put_mixed_precision(keys, adapted=adapted)
    put_optimizer(keys, "optimizer", "use_8bit_adam")
    put_batch(keys, "gradient_accumulation_steps", "train_batch_size", gpus)
    put_size(keys, "resolution")
    if keys.take("allow_tf32") and keys.take("mixed_precision") is None:
        keys.put("precision", "tf32", "allow_tf32")
    if keys.take("enable_xformers_memory_efficient_attention"):
        # a fused kernel, which is what the default is priced as
        keys.put("attention", "sdpa", "enable_xformers_memory_efficient_attention")
    _average(keys)
    if keys.take("train_text_encoder"):
        keys.leave_out("train_text_encoder")
    return keys.imported()


def _average(keys: Keys) -> None:
    """``EMAModel``: one weight after another, over lists, or from the host's memory."""
    words = {"offload_ema": "host", "foreach_ema": "list", "use_ema": "loop"}
    found = {key: keys.take(key) for key in words}
    for key, word in words.items():
        if found["use_ema"] and found[key]:
            keys.put("ema", word, key)
            break


def _strategy(keys: Keys, script: str, document: Mapping[str, Any]) -> bool:
    """Whether adapters train."""
    keys.take(SCRIPT)
    if script and not KNOWN.fullmatch(script):
        keys.leave_out(SCRIPT)
    ranks = [key for key in ("rank", "lora_rank") if key in document]
    adapted = "lora" in script or bool(ranks)
    if adapted:
        keys.put("strategy", ["lora"], SCRIPT if script else ranks[0])
        key = ranks[0] if ranks else "rank"
        keys.put("lora_rank", keys.take(key), key)
    elif script:
        keys.put("strategy", ["fine_tune"], SCRIPT)
    return adapted


IMPORTER = Importer(
    "diffusers",
    lambda keys: (
        "pretrained_model_name_or_path" in keys
        and not SIGNS.isdisjoint(keys)
        and OF_KOHYA.isdisjoint(keys)
    ),
    read,
    stack="loop",
    of_launcher=("mixed_precision",),
)
