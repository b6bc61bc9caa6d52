"""kohya's sd-scripts: TOML of arguments (in sections or without), of data sets, or a command line.

A network module trains adapters; without one the whole model trains. Epochs win over steps.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from planner.question.importers import Imported, Importer, Keys
from planner.question.importers.diffusers import OF_KOHYA
from planner.question.importers.images import (
    put_accumulated,
    put_mixed_precision,
    put_optimizer,
    put_size,
)
from planner.question.importers.keys import listed
from planner.question.importers.shared import put_model
from planner.question.importers.table import table

#: Parts of a file that are no sections of arguments.
OF_DATA = frozenset({"datasets", "general"})
ADAPTERS = ("networks.lora", "networks.lora_flux", "networks.lora_sd3", "networks.lora_lumina")


#: Scripts that train adapters or whole models, as a question means it.
KNOWN = re.compile(r"((sdxl|flux|sd3|lumina)_)?train(_network|_db)?\.py|fine_tune\.py")


def read(document: Mapping[str, Any], gpus: int) -> Imported:
    """The question of kohya's file."""
    document = _flattened(document)
    keys = Keys(document, table("kohya"))
    put_model(keys, "pretrained_model_name_or_path")
    data_alone = keys.known() <= OF_DATA
    if not data_alone:
        _script(keys)
        adapted = _strategy(keys)
        _precision(keys, adapted=adapted)
        put_optimizer(keys, "optimizer_type", "use_8bit_adam")
        _attention(keys)
        _length(keys)
    micro = _datasets(keys, document)
    if not data_alone:
        micro = keys.take("train_batch_size") if micro is None else micro
        if "micro_batch" not in keys.fields():
            keys.put("micro_batch", micro, "train_batch_size")
        put_accumulated(keys, "gradient_accumulation_steps", micro, gpus)
    return keys.imported()


def _flattened(document: Mapping[str, Any]) -> dict[str, Any]:
    """Names of sections mean nothing to the scripts."""
    found: dict[str, Any] = {}
    for name, value in document.items():
        if isinstance(value, Mapping) and name not in OF_DATA and not name.startswith("("):
            found |= cast("Mapping[str, Any]", value)
        else:
            found[name] = value
    return found


def _script(keys: Keys) -> None:
    """Textual inversion and the like are other trainings."""
    script = keys.take("(script)")
    if script is not None and not KNOWN.fullmatch(str(script)):
        keys.leave_out("(script)")


def _strategy(keys: Keys) -> bool:
    """Whether adapters train, and on what: the text encoder's are not asked about."""
    module = keys.take("network_module")
    rank, unet_only = keys.take("network_dim"), keys.take("network_train_unet_only")
    if keys.take("network_train_text_encoder_only"):
        keys.leave_out("network_train_text_encoder_only")
    if module is None:
        keys.put("strategy", ["fine_tune"], "network_module")
        for key in ("network_dim", "network_alpha"):
            keys.harmless(key)
        return False
    if module not in ADAPTERS:
        keys.leave_out("network_module")
    keys.put("strategy", ["lora"], "network_module")
    keys.put("lora_rank", rank, "network_dim")
    if not unet_only:
        keys.grant("lora_targets", "the text encoder's adapters train too (not counted here)")
    return True


def _precision(keys: Keys, *, adapted: bool) -> None:
    for key, kind in (("full_bf16", "bf16"), ("full_fp16", "fp16")):
        if keys.take(key):
            keys.take("mixed_precision")
            keys.put("precision", kind, key)
            return
    put_mixed_precision(keys, adapted=adapted)


def _attention(keys: Keys) -> None:
    """Both are fused kernels, which the default is priced as."""
    for key in ("xformers", "sdpa", "mem_eff_attn"):
        if keys.take(key):
            keys.put("attention", "sdpa", key)
    if keys.take("torch_compile"):
        keys.put("compile", True, "torch_compile")


def _length(keys: Keys) -> None:
    epochs, steps = keys.take("max_train_epochs"), keys.take("max_train_steps")
    if epochs is not None:
        keys.put("epochs", epochs, "max_train_epochs")
        keys.harmless("max_train_steps")
    else:
        keys.put("max_steps", steps, "max_train_steps")


def _datasets(keys: Keys, document: Mapping[str, Any]) -> Any:
    """The micro-batch of the first data set, None where it does not say; what the others say is
    listed."""
    put_size(keys, "resolution")
    if (file := keys.take("dataset_config")) is not None:
        keys.refer("kohya", file, "dataset_config")
    put_size(keys, "general.resolution")
    micro = keys.take("general.batch_size")
    if micro is not None:
        keys.put("micro_batch", micro, "general.batch_size")
    sets = listed(document.get("datasets"))
    for number in range(1, len(sets)):
        keys.take(f"datasets[{number}]")
        keys.leave_out(f"datasets[{number}]")
    if not sets:
        return micro
    put_size(keys, "datasets[0].resolution")
    if (own := keys.take("datasets[0].batch_size")) is not None:
        keys.put("micro_batch", own, "datasets[0].batch_size")
        micro = own
    _subsets(keys, sets[0])
    return micro


def _subsets(keys: Keys, first: Any) -> None:
    subsets: list[Any] = []
    if isinstance(first, dict):
        subsets = listed(cast("dict[str, Any]", first).get("subsets"))
    for number in range(len(subsets)):
        at = f"datasets[0].subsets[{number}]"
        folder, repeats = keys.take(f"{at}.image_dir"), keys.take(f"{at}.num_repeats")
        if number:
            keys.leave_out(at)
            continue
        if isinstance(folder, str):
            keys.put("data", folder, f"{at}.image_dir")
        if repeats not in (None, 1):
            keys.leave_out(f"{at}.num_repeats")


IMPORTER = Importer(
    "kohya",
    lambda keys: (
        ("pretrained_model_name_or_path" in keys and not OF_KOHYA.isdisjoint(keys))
        or ("datasets" in keys and keys <= {"datasets", "general"})
        or (
            any(name.endswith("_arguments") for name in keys)
            and not {"model_arguments", "training_arguments"}.isdisjoint(keys)
        )
    ),
    read,
    stack="loop",
    of_launcher=("mixed_precision",),
)
