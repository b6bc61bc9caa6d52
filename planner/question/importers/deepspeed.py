"""DeepSpeed's JSON. It names no model: it stands beside another file, or the model is named
besides. A value ``auto`` is the trainer's to fill.

Its 16-bit training keeps float32 master weights, as mixed precision does. Shards of ZeRO and what
is offloaded cannot be asked yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from planner.question.importers import Imported, Importer, Keys
from planner.question.importers.keys import whole
from planner.question.importers.table import table
from planner.question.optimizers import asked_of_class

SIGNS = frozenset({"train_micro_batch_size_per_gpu", "zero_optimization"})
AUTO = "auto"
STAGE = "zero_optimization.stage"
#: Parts that do nothing unless something in them is enabled.
SWITCHED = (
    "autotuning",
    "compression_training",
    "curriculum_learning",
    "data_efficiency",
    "eigenvalue",
    "progressive_layer_drop",
    "torch_autocast",
)


def read(document: Mapping[str, Any], gpus: int) -> Imported:
    """What DeepSpeed's settings say."""
    keys = Keys(document, table("deepspeed"))
    _batch(keys, document, gpus)
    _precision(keys)
    _optimizer(keys)
    stage = keys.take(STAGE)
    offloaded = _offload(keys)
    if stage in (None, 0, AUTO) and not offloaded:
        keys.harmless("zero_optimization")
    elif stage not in (None, 0):
        keys.leave_out(STAGE)
    for key in SWITCHED:
        keys.take(key)
        (keys.leave_out if _enabled(document.get(key)) else keys.harmless)(key)
    return keys.imported()


def _batch(keys: Keys, document: Mapping[str, Any], gpus: int) -> None:
    """The whole batch, or what it is made of."""
    steps = keys.take("gradient_accumulation_steps")
    micro = document.get("train_micro_batch_size_per_gpu")
    if whole(document.get("train_batch_size")) or steps in (None, AUTO):
        return
    if whole(steps) and whole(micro):
        keys.put("global_batch", steps * micro * gpus, "gradient_accumulation_steps")
    elif steps != 1:
        keys.leave_out("gradient_accumulation_steps")


def _precision(keys: Keys) -> None:
    bf16, fp16 = keys.take("bf16.enabled"), keys.take("fp16.enabled")
    if bf16 is True:
        keys.put("precision", "amp_bf16", "bf16.enabled")
    elif fp16 is True:
        keys.put("precision", "amp_fp16", "fp16.enabled")
    elif fp16 is False and bf16 in (None, False):
        keys.put("precision", "fp32", "fp16.enabled")
    for key, value in (("bf16.enabled", bf16), ("fp16.enabled", fp16)):
        if value not in (None, True, False, AUTO):
            keys.leave_out(key)


def _optimizer(keys: Keys) -> None:
    """Its AdamW and Adam run fused; those that send few bits are others."""
    name = keys.take("optimizer.type")
    kind = asked_of_class(str(name))
    if kind is not None:
        keys.put("optimizer", kind, "optimizer.type")
    elif name is not None:
        keys.leave_out("optimizer.type")


def _offload(keys: Keys) -> bool:
    """Whether something lies off the device."""
    found = False
    for key in ("zero_optimization.offload_optimizer", "zero_optimization.offload_param"):
        device = keys.take(f"{key}.device")
        if device in (None, "none"):
            keys.harmless(f"{key}.device")
        else:
            keys.leave_out(f"{key}.device")
            found = True
    return found


def _enabled(part: Any) -> bool:
    """Whether a switch named ``enabled`` is on, at any depth; a part without one is on."""
    if not isinstance(part, Mapping):
        return bool(part)
    switches = list(_switches(cast("Mapping[str, Any]", part)))
    return any(value not in (False, None) for value in switches) if switches else True


def _switches(part: Mapping[str, Any]) -> list[Any]:
    found = [value for name, value in part.items() if name == "enabled"]
    for value in part.values():
        if isinstance(value, Mapping):
            found += _switches(cast("Mapping[str, Any]", value))
    return found


IMPORTER = Importer(
    "deepspeed",
    lambda keys: (
        (
            not SIGNS.isdisjoint(keys)
            or ("train_batch_size" in keys and not {"fp16", "bf16", "optimizer"}.isdisjoint(keys))
        )
        and not {"model_name_or_path", "pretrained_model_name_or_path", "base_model"} & keys
    ),
    read,
)
