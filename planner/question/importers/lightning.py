"""LightningCLI's YAML. The model is a class of its author: it is named besides, unless the file
gives it a checkpoint's name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from planner.question.importers import Imported, Importer, Keys
from planner.question.importers.keys import listed, whole
from planner.question.importers.shared import put_model
from planner.question.importers.table import table
from planner.question.optimizers import asked_of_class

DEVICES = ("trainer.devices", "trainer.gpus")
#: Arguments of a model's or data's class by which others call the same.
MODEL_NAMES = ("model_name_or_path", "pretrained_model_name_or_path")
BATCH, WORKERS = ("batch_size", "train_batch_size"), ("num_workers",)
#: One of these stands beside ``trainer``, or nothing.
BESIDE_TRAINER = frozenset({"ckpt_path", "data", "model", "optimizer", "seed_everything"})
#: Callbacks that neither train nor hold anything.
HARMLESS = (
    *("DeviceStatsMonitor", "EarlyStopping", "LearningRateMonitor", "ModelCheckpoint"),
    *("ModelSummary", "RichModelSummary", "RichProgressBar", "TQDMProgressBar", "Timer"),
)
ZERO = "deepspeed_stage_"
DDP = ("ddp", "ddp_find_unused_parameters_true", "ddp_find_unused_parameters_false", "ddp_spawn")


def devices(document: Mapping[str, Any]) -> int | None:
    """A number, a list of devices, or a text of either; of each machine."""
    trainer = document.get("trainer")
    if not isinstance(trainer, Mapping):
        return None
    said = cast("Mapping[str, Any]", trainer)
    value = said.get("devices", said.get("gpus"))
    count = len(listed(value)) if isinstance(value, list) else value
    if isinstance(count, str):
        names = [name for name in count.split(",") if name.strip()]
        count = int(count) if count.isdecimal() else len(names) if len(names) > 1 else None
    nodes = said.get("num_nodes", 1)
    return count * nodes if whole(count) and whole(nodes) and count > 0 else None


def read(document: Mapping[str, Any], gpus: int) -> Imported:
    """The question of a LightningCLI's file."""
    keys = Keys(document, table("lightning"))
    _devices(keys, document, gpus)
    _model(keys)
    _data(keys, gpus)
    _optimizer(keys)
    _validation(keys)
    for number, callback in enumerate(listed(keys.take("trainer.callbacks"))):
        at = f"trainer.callbacks[{number}]"
        path: Any = callback
        if isinstance(callback, dict):
            path = cast("dict[str, Any]", callback).get("class_path", "")
        known = str(path).rsplit(".", 1)[-1] in HARMLESS
        (keys.harmless if known else keys.leave_out)(at if isinstance(callback, dict) else at[:-3])
    return keys.imported()


def _devices(keys: Keys, document: Mapping[str, Any], gpus: int) -> None:
    key = next((key for key in DEVICES if keys.take(key) is not None), DEVICES[0])
    nodes, kind = keys.take("trainer.num_nodes"), keys.take("trainer.strategy")
    if count := devices(document):
        keys.put("gpus", count, key)
    elif keys.take(key) is not None or (whole(nodes) and nodes > 1):
        keys.leave_out(key)
    if keys.take("trainer.accelerator") not in (None, "auto", "gpu", "cuda"):
        keys.leave_out("trainer.accelerator")
    many = (count or gpus) > 1
    if whole(nodes) and nodes > 1 and count and count % nodes == 0:
        keys.put("nodes", nodes, "trainer.num_nodes")
    way, words = _way(kind), _words(kind)
    if way == "ddp" and gpus > 1 or way not in (None, "ddp") and many:
        keys.put("parallel", way, "trainer.strategy")
        if words:
            keys.put("offload", words, "trainer.strategy")
        if way in ("fsdp", "hsdp"):
            keys.grant("parallel", "FSDP's units the repeated blocks")
    elif kind not in (None, "auto", *DDP) and way is None:
        keys.leave_out("trainer.strategy")


def _way(kind: Any) -> str | None:
    """How a strategy shares the work, by its name or its class: FSDP's full shard without more
    words; ZeRO's stages."""
    said = _arguments(kind)
    if isinstance(kind, Mapping):
        named = cast("Mapping[str, Any]", kind).get("class_path", "")
        kind = str(named).rsplit(".", 1)[-1]
    if kind in (*DDP, "DDPStrategy"):
        return "ddp"
    if kind in ("fsdp", "FSDPStrategy"):
        shards = {"FULL_SHARD": "fsdp", "HYBRID_SHARD": "hsdp"}
        return shards.get(str(said.get("sharding_strategy", "FULL_SHARD")))
    stage = kind[len(ZERO) :] if isinstance(kind, str) and kind.startswith(ZERO) else ""
    if stage in ("1", "2", "3", "2_offload", "3_offload"):
        return f"zero{stage[0]}"
    return None


def _arguments(kind: Any) -> Mapping[str, Any]:
    """Of a strategy's class; nothing of a name."""
    if not isinstance(kind, Mapping):
        return {}
    said = cast("Mapping[str, Any]", kind).get("init_args")
    return cast("Mapping[str, Any]", said) if isinstance(said, Mapping) else {}


def _words(kind: Any) -> list[str]:
    """What a strategy leaves on the host (Lightning's ``DeepSpeedStrategy``: stage 2 the optimizer,
    stage 3 parameters too)."""
    if isinstance(kind, Mapping):
        return ["weights"] if _arguments(kind).get("cpu_offload") else []
    offloading = {f"{ZERO}2_offload": ["optimizer", "gradients"], f"{ZERO}3_offload": ["weights"]}
    return offloading.get(str(kind), [])


def _model(keys: Keys) -> None:
    for name in MODEL_NAMES:
        put_model(keys, f"model.init_args.{name}")
    keys.leave_out_rest("model")


def _data(keys: Keys, gpus: int) -> None:
    """The batch and the workers by their usual names; what else a class of its author is told
    is nobody else's to know."""
    batch = next((n for n in BATCH if keys.take(f"data.init_args.{n}") is not None), None)
    steps = keys.take("trainer.accumulate_grad_batches")
    if batch is not None:
        size, key = keys.take(f"data.init_args.{batch}"), f"data.init_args.{batch}"
        keys.put("micro_batch", size, key)
        if whole(size) and (steps is None or whole(steps)):
            source = key if steps is None else "trainer.accumulate_grad_batches"
            keys.put("global_batch", size * (steps or 1) * gpus, source)
    elif steps not in (None, 1):
        keys.leave_out("trainer.accumulate_grad_batches")
    for name in WORKERS:
        if (count := keys.take(f"data.init_args.{name}")) is not None:
            keys.put("loader_workers", count, f"data.init_args.{name}")
    keys.leave_out_rest("data")


def _optimizer(keys: Keys) -> None:
    name = keys.take("optimizer.class_path")
    if name is None:
        return
    kind = asked_of_class(str(name))
    if str(name).endswith(".SGD"):
        kind = "sgd"
    if kind is None:
        keys.leave_out("optimizer.class_path")
    else:
        keys.put("optimizer", kind, "optimizer.class_path")


def _validation(keys: Keys) -> None:
    """Every so many epochs, or after a share of one."""
    every, interval = (
        keys.take("trainer.check_val_every_n_epoch"),
        keys.take("trainer.val_check_interval"),
    )
    limit = keys.take("trainer.limit_val_batches")
    if limit == 0:
        keys.put("evaluations_per_epoch", 0, "trainer.limit_val_batches")
        return
    if limit not in (None, 1.0) or isinstance(limit, bool):
        keys.leave_out("trainer.limit_val_batches")
    if isinstance(interval, float) and 0 < interval <= 1:
        keys.put("evaluations_per_epoch", 1 / interval, "trainer.val_check_interval")
    elif interval is not None:
        keys.leave_out("trainer.val_check_interval")
    elif whole(every) and every > 0:
        keys.put("evaluations_per_epoch", 1 / every, "trainer.check_val_every_n_epoch")


IMPORTER = Importer(
    "lightning",
    lambda keys: "trainer" in keys and (len(keys) == 1 or not BESIDE_TRAINER.isdisjoint(keys)),
    read,
    devices,
    stack="lightning",
)
