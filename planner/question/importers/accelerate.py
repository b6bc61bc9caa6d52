"""accelerate's YAML, and what ``accelerate launch``, ``torchrun`` and ``deepspeed`` are told: on
how many devices, how they share the work, and in which number format. It names no model: it stands
beside another file, or the model is named besides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from planner.question.importers import Imported, Importer, Keys
from planner.question.importers.deepspeed import PARTS, put_offload
from planner.question.importers.keys import whole
from planner.question.importers.shared import TORCHAO
from planner.question.importers.table import table

SIGNS = frozenset({"compute_environment", "distributed_type", "main_training_function"})
#: Launchers' names for the processes of one machine, and for the machines.
PROCESSES, A_MACHINE, MACHINES = "num_processes", ("nproc_per_node", "num_gpus"), "nnodes"
COUNTS = ("num_processes", "nproc_per_node", "num_gpus", "nnodes", "num_machines", "num_nodes")
ONE, REPLICATED = ("NO", "no", False), ("MULTI_GPU", "multi_gpu")


def devices(document: Mapping[str, Any]) -> int | None:
    """``num_processes`` is of all machines, torchrun's count of one."""
    if whole(count := document.get(PROCESSES)):
        return count
    per_machine = next((document[key] for key in A_MACHINE if whole(document.get(key))), None)
    machines = document.get(MACHINES, document.get("num_nodes", 1))
    return per_machine * machines if per_machine and whole(machines) else None


def read(document: Mapping[str, Any], gpus: int) -> Imported:
    """What a launcher's file or flags say."""
    keys = Keys(document, table("accelerate"))
    for key in COUNTS:
        keys.take(key)
    if count := devices(document):
        keys.put("gpus", count, next(key for key in COUNTS if whole(document.get(key))))
    kind = keys.take("distributed_type")
    many = (count or gpus) > 1
    if (kind in REPLICATED or keys.take("multi_gpu")) and many:
        keys.put("parallel", "ddp", "distributed_type" if kind else "multi_gpu")
    alone = _deepspeed(keys, document, count or gpus, asked=kind == "DEEPSPEED")
    _float8(keys, document)
    (keys.leave_out if kind == "FSDP" else keys.harmless)("fsdp_config")
    if kind is not None and kind not in (*ONE, *REPLICATED) and not alone:
        keys.leave_out("distributed_type")
    if (file := keys.take("config_file")) is not None:
        keys.refer("accelerate", file, "config_file")
    return keys.imported()


def _float8(keys: Keys, document: Mapping[str, Any]) -> None:
    """torchao's products run under autocast in bf16; those of other libraries cannot be asked."""
    if document.get("mixed_precision") != "fp8":
        return
    library = keys.take("fp8_config.backend") or keys.take("fp8_backend")
    if str(library).lower() not in TORCHAO:
        keys.leave_out("fp8_config")
        return
    keys.put("precision", "amp_bf16", "mixed_precision")
    keys.put("float8", "tensorwise", "fp8_config" if "fp8_config" in document else "fp8_backend")


def _deepspeed(keys: Keys, document: Mapping[str, Any], gpus: int, *, asked: bool) -> bool:
    """Its settings in accelerate's words, or the file that holds them. Whether it offloads on one
    device, which is all that it does there."""
    if not asked and "deepspeed_config" in document:
        keys.harmless("deepspeed_config")
        return False
    stage = keys.take("deepspeed_config.zero_stage")
    names = {what: f"deepspeed_config.offload_{part}_device" for what, part in PARTS.items()}
    offloaded = put_offload(keys, names, stage, gpus)
    alone = offloaded and gpus == 1
    if stage and not alone:
        keys.leave_out("deepspeed_config.zero_stage")
    for key in ("deepspeed_config.deepspeed_config_file", "deepspeed_config_file"):
        if (file := keys.take(key)) is not None:
            keys.refer("deepspeed", cast(str, file), key)
    return alone


IMPORTER = Importer(
    "accelerate",
    lambda keys: not SIGNS.isdisjoint(keys) and "model_name_or_path" not in keys,
    read,
    devices,
)
