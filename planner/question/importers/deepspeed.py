"""DeepSpeed's JSON. It names no model: it stands beside another file, or the model is named
besides. A value ``auto`` is the trainer's to fill.

Its 16-bit training keeps float32 master weights, as mixed precision does. Shards of ZeRO are the
question's, with what they leave on the host.
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
ZERO = "zero_optimization"
STAGE = f"{ZERO}.stage"
MICS = f"{ZERO}.mics_shard_size"
STAGES = (1, 2, 3)
#: What can lie in the host's memory, and what its settings call it.
PARTS = {"optimizer": "optimizer", "weights": "param"}
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
    offloaded = _offload(keys, stage, gpus)
    if stage in (None, 0, AUTO) and not offloaded:
        keys.harmless("zero_optimization")
    elif stage not in (None, 0) and not (offloaded and gpus == 1):
        put_stage(keys, STAGE, stage, gpus)
    _mics(keys, stage, gpus)
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


def _offload(keys: Keys, stage: Any, gpus: int) -> bool:
    """Whether something lies in the host's memory."""
    names = {what: f"{ZERO}.offload_{part}.device" for what, part in PARTS.items()}
    if keys.take(f"{ZERO}.cpu_offload") is True:  # its name of before 2021
        names["optimizer"] = f"{ZERO}.cpu_offload"
    return put_offload(keys, names, stage, gpus)


def _mics(keys: Keys, stage: Any, gpus: int) -> None:
    """MiCS: groups of devices that share a copy of stage 3; ZeRO++'s second copy of the weights in
    each machine, of which nothing is planned."""
    shards = keys.take(MICS)
    if stage == 3 and whole(shards) and 1 < shards < gpus and gpus % shards == 0:
        keys.put("shard_devices", shards, MICS)
    elif shards not in (None, -1, gpus):
        keys.leave_out(MICS)
    else:
        keys.harmless(MICS)


def put_stage(keys: Keys, key: str, stage: Any, gpus: int) -> None:
    """A stage of ZeRO shares what it shares among several devices; on one it still keeps buffers,
    which cannot be asked."""
    if whole(stage) and 1 <= stage <= 3 and gpus > 1:
        keys.put("parallel", f"zero{stage}", key)
    else:
        keys.leave_out(key)


def put_offload(keys: Keys, names: Mapping[str, str], stage: Any, gpus: int) -> bool:
    """Whether something lies in the host's memory, by the keys that name a device for it. On disk,
    of weights without the optimizer, and of several devices without a stage that shares it, it
    cannot be asked."""
    words: list[str] = []
    for what, key in names.items():
        device = keys.take(key)
        if device in (None, "none", False):
            keys.harmless(key)
        elif device not in ("cpu", True) or (what == "weights" and not words):
            keys.leave_out(key)
        elif gpus > 1 and stage not in (STAGES if what == "optimizer" else STAGES[2:]):
            keys.leave_out(key)
        else:
            words += _words(what, stage)
            keys.put("offload", list(dict.fromkeys(words)), key)
    return bool(words)


def _words(what: str, stage: Any) -> list[str]:
    """Stage 1 keeps the gradients until the update, the others let them go."""
    if what == "weights":
        return ["weights"]
    return ["optimizer"] if stage == 1 else ["optimizer", "gradients"]


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
