"""How a recipe's devices share one model, as transformers' Trainer takes it: copies
(DistributedDataParallel), FSDP2's shards by accelerate, ZeRO by DeepSpeed."""

from __future__ import annotations

import json
from typing import Any

from planner.parallel.plan import ParallelPlan
from planner.recipe.config import Key
from planner.recipe.planned import Planned

FSDP = "fsdp"
#: DeepSpeed's stage by our word.
STAGES = {"zero1": 1, "zero2": 2, "zero3": 3}
DEEPSPEED_FILE = "deepspeed.json"


def parallel_of(planned: Planned) -> ParallelPlan:
    return planned.option.rented.parallel


def sharing_keys(planned: Planned) -> list[Key | None]:
    """Keys of transformers.TrainingArguments (5.x)."""
    parallel = parallel_of(planned)
    if parallel.devices == 1:
        return []
    if parallel.sharding == FSDP:
        return [
            Key(FSDP, True, "FSDP2 shares weights, gradients and the optimizer's states"),
            Key("fsdp_config", _fsdp(), "every repeated block is gathered by itself"),
        ]
    if parallel.sharding in STAGES:
        return [Key("deepspeed", DEEPSPEED_FILE, "ZeRO: what it shares stands there")]
    return [Key("ddp_find_unused_parameters", False, "each weight has a gradient in each step")]


def _fsdp() -> dict[str, Any]:
    return {
        "version": 2,
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "reshard_after_forward": True,
        "state_dict_type": "SHARDED_STATE_DICT",
    }


def mesh_of(planned: Planned) -> dict[str, int]:
    """accelerate's ``ParallelismConfig`` where copies share their state each; nothing without."""
    parallel = parallel_of(planned)
    if parallel.sharding != FSDP or parallel.dp_replicate == 1:
        return {}
    return {"dp_replicate_size": parallel.dp_replicate, "dp_shard_size": parallel.dp_shard}


def environment(planned: Planned) -> str:
    """What a launcher other than accelerate's sets before train.py, as a shell's words: what
    ``accelerate launch`` makes of ``parallelism_config`` (accelerate 1.15 ``utils/launch.py``)."""
    mesh = mesh_of(planned)
    if not mesh:
        return ""
    named = [f"PARALLELISM_CONFIG_{name.upper()}={size}" for name, size in mesh.items()]
    return " ".join(["ACCELERATE_USE_PARALLELISM_CONFIG=true", *named, ""])


def deepspeed_file(planned: Planned) -> dict[str, str]:
    """DeepSpeed's configuration where the plan shares by ZeRO: "auto" takes the Trainer's values,
    which are the plan's."""
    stage = STAGES.get(parallel_of(planned).sharding)
    if stage is None:
        return {}
    zero: dict[str, Any] = {
        "stage": stage,
        "overlap_comm": True,
        "contiguous_gradients": True,
        "reduce_bucket_size": "auto",
    }
    if stage == STAGES["zero3"]:
        zero |= {
            "stage3_prefetch_bucket_size": "auto",
            "stage3_param_persistence_threshold": "auto",
            "stage3_gather_16bit_weights_on_model_save": True,
        }
    made = {
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "bf16": {"enabled": "auto"},
        "fp16": {"enabled": "auto"},
        "zero_optimization": zero,
    }
    return {DEEPSPEED_FILE: json.dumps(made, indent=2) + "\n"}
