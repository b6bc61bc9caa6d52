"""accelerate's YAML, and what ``accelerate launch``, ``torchrun`` and ``deepspeed`` are told: on
how many devices, how they share the work, and in which number format. It names no model: it stands
beside another file, or the model is named besides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from planner.question.importers import Imported, Importer, Keys
from planner.question.importers.deepspeed import PARTS, put_offload, put_stage
from planner.question.importers.keys import whole
from planner.question.importers.shared import TORCHAO
from planner.question.importers.table import table

SIGNS = frozenset({"compute_environment", "distributed_type", "main_training_function"})
#: Launchers' names for the processes of one machine, and for the machines.
PROCESSES, A_MACHINE, MACHINES = "num_processes", ("nproc_per_node", "num_gpus"), "nnodes"
COUNTS = ("num_processes", "nproc_per_node", "num_gpus", "nnodes", "num_machines", "num_nodes")
#: FSDP's full shard, by its name and its number; how blocks are found.
FULL, TRANSFORMER = ("FULL_SHARD", "1"), "TRANSFORMER_BASED_WRAP"
#: FSDP1's shards inside a machine, copies over machines; the sizes of a mesh of devices.
HYBRID, MESH = ("HYBRID_SHARD", "4"), "parallelism_config"
OFFLOADED = "fsdp_config.fsdp_offload_params"
RECOMPUTED = "fsdp_config.fsdp_activation_checkpointing"
AS_PLANNED = (
    "fsdp_activation_checkpointing",
    "fsdp_auto_wrap_policy",
    "fsdp_backward_prefetch",
    "fsdp_backward_prefetch_policy",
    "fsdp_cpu_ram_efficient_loading",
    "fsdp_forward_prefetch",
    "fsdp_offload_params",
    "fsdp_reshard_after_forward",
    "fsdp_sharding_strategy",
    "fsdp_state_dict_type",
    "fsdp_sync_module_states",
    "fsdp_transformer_layer_cls_to_wrap",
    "fsdp_use_orig_params",
    "fsdp_version",
)
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
    _machines(keys, document, count or gpus)
    kind = keys.take("distributed_type")
    many = (count or gpus) > 1
    if (kind in REPLICATED or keys.take("multi_gpu")) and many:
        keys.put("parallel", "ddp", "distributed_type" if kind else "multi_gpu")
    alone = _deepspeed(keys, document, count or gpus, asked=kind == "DEEPSPEED")
    _float8(keys, document)
    full = kind == "FSDP" and many and _is_full(document)
    if full:
        _of_full(keys, document, count or gpus)
    (keys.leave_out if kind == "FSDP" and not full else keys.harmless)("fsdp_config")
    known = alone or full or "parallel" in keys.fields()
    if kind is not None and kind not in (*ONE, *REPLICATED) and not known:
        keys.leave_out("distributed_type")
    if (file := keys.take("config_file")) is not None:
        keys.refer("accelerate", file, "config_file")
    return keys.imported()


def _is_full(document: Mapping[str, Any]) -> bool:
    """Whether all state is in parts, block by block: FSDP1's FULL_SHARD or HYBRID_SHARD, FSDP2
    that reshards after the forward pass."""
    config = cast("Mapping[str, Any]", document.get("fsdp_config") or {})
    how = str(config.get("fsdp_sharding_strategy", "FULL_SHARD"))
    wrapped = str(config.get("fsdp_auto_wrap_policy", TRANSFORMER))
    reshards = config.get("fsdp_reshard_after_forward", True)
    return (
        how in (*FULL, *HYBRID)
        and wrapped == TRANSFORMER
        and reshards not in (False, "false", "SHARD_GRAD_OP")
    )


def _machines(keys: Keys, document: Mapping[str, Any], gpus: int) -> None:
    """Those that are named and that the devices fill evenly."""
    names = (MACHINES, "num_machines", "num_nodes")
    key = next((name for name in names if whole(document.get(name))), None)
    nodes = document[key] if key else 1
    if key and nodes > 1 and gpus % nodes == 0:
        keys.put("nodes", nodes, key)


def _of_full(keys: Keys, document: Mapping[str, Any], gpus: int) -> None:
    """How many share a copy: all, those of a machine (FSDP1's HYBRID_SHARD), or as many as
    ``parallelism_config`` says; and what else is said: what is planned so, and what is not
    known."""
    config = cast("Mapping[str, Any]", document.get("fsdp_config") or {})
    hybrid = str(config.get("fsdp_sharding_strategy")) in HYBRID
    named = "fsdp_config.fsdp_sharding_strategy" if hybrid else "distributed_type"
    keys.put("parallel", "hsdp" if hybrid else "fsdp", named)
    if keys.take(OFFLOADED) in (True, "true"):
        keys.put("offload", ["weights"], OFFLOADED)
    shards, copies = (
        keys.take(f"{MESH}.parallelism_config_dp_{name}_size") for name in ("shard", "replicate")
    )
    if whole(copies) and copies > 1 and whole(shards) and shards * copies == gpus:
        keys.put("shard_devices", shards, f"{MESH}.parallelism_config_dp_shard_size")
        keys.harmless(f"{MESH}.parallelism_config_dp_replicate_size")
    elif copies not in (None, 1) or shards not in (None, 1, gpus):
        keys.leave_out(MESH)
    if keys.take(RECOMPUTED) in (True, "true"):
        keys.put("gradient_checkpointing", "full", RECOMPUTED)
    for name in AS_PLANNED:
        if f"fsdp_config.{name}" != OFFLOADED or "offload" not in keys.fields():
            keys.harmless(f"fsdp_config.{name}")
    keys.leave_out_rest("fsdp_config")


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
        put_stage(keys, "deepspeed_config.zero_stage", stage, gpus)
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
