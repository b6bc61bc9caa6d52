"""How other tools say that some devices share a copy, in how many machines."""

import json

import pytest

from planner.question.files.of_file import of_file

COUNTS = {"samples": 100, "model": "gpt2"}
FSDP = {"distributed_type": "FSDP", "num_processes": 16}
LIGHTNING = {"seed_everything": 1, "model": {}}


def read(tmp_path, document):
    file = tmp_path / "run.json"
    file.write_text(json.dumps(document))
    return of_file(file, COUNTS)


def lightning(strategy, **trainer):
    return LIGHTNING | {"trainer": {"devices": 8, "strategy": strategy} | trainer}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            FSDP | {"num_machines": 2, "fsdp_config": {"fsdp_sharding_strategy": "HYBRID_SHARD"}},
            {"parallel": "hsdp", "nodes": 2, "gpus": 16},
        ),
        (FSDP | {"fsdp_config": {"fsdp_sharding_strategy": 4}}, {"parallel": "hsdp"}),
        (
            FSDP
            | {
                "parallelism_config": {
                    "parallelism_config_dp_replicate_size": 4,
                    "parallelism_config_dp_shard_size": 4,
                }
            },
            {"parallel": "fsdp", "shard_devices": 4},
        ),
        (
            {
                "train_micro_batch_size_per_gpu": 1,
                "zero_optimization": {"stage": 3, "mics_shard_size": 4},
                "gpus": 8,
            },
            {"parallel": "zero3", "shard_devices": 4},
        ),
        (lightning("fsdp", num_nodes=2), {"parallel": "fsdp", "nodes": 2, "gpus": 16}),
        (
            lightning(
                {
                    "class_path": "lightning.pytorch.strategies.FSDPStrategy",
                    "init_args": {"sharding_strategy": "HYBRID_SHARD"},
                }
            ),
            {"parallel": "hsdp"},
        ),
        (lightning("deepspeed_stage_2"), {"parallel": "zero2"}),
        (
            {"model_name_or_path": "gpt2", "learning_rate": 1e-4, "per_device_train_batch_size": 1}
            | {"fsdp": "hybrid_shard auto_wrap", "output_dir": "x"},
            {"parallel": "hsdp"},
        ),
    ],
)
def test_hybrid_shards_are_asked(tmp_path, document, expected):
    document = dict(document)
    gpus = document.pop("gpus", None)
    file = tmp_path / "run.json"
    file.write_text(json.dumps(document))
    found = of_file(file, COUNTS | ({"gpus": gpus} if gpus else {}))
    assert expected.items() <= found.values.items()
    assert not any("mics" in note or "hybrid" in note.lower() for note in found.notes)


@pytest.mark.parametrize(
    ("document", "key"),
    [
        (
            FSDP | {"parallelism_config": {"parallelism_config_dp_replicate_size": 3}},
            "parallelism_config",
        ),
        (
            FSDP
            | {
                "parallelism_config": {
                    "parallelism_config_dp_replicate_size": 2,
                    "parallelism_config_dp_shard_size": 4,
                    "parallelism_config_tp_size": 2,
                }
            },
            "parallelism_config",
        ),
        (lightning("deepspeed_stage_3_offload_nvme"), "strategy"),
        (
            lightning(
                {"class_path": "FSDPStrategy", "init_args": {"sharding_strategy": "SHARD_GRAD_OP"}}
            ),
            "strategy",
        ),
    ],
)
def test_what_cannot_be_asked_is_said(tmp_path, document, key):
    found = read(tmp_path, document)
    assert "shard_devices" not in found.values
    assert any(key in note for note in found.notes)


DEEPSPEED = {"train_micro_batch_size_per_gpu": 1}
TRAINER = {"model_name_or_path": "gpt2", "learning_rate": 1e-4, "output_dir": "x"}


def zero(stage, **parts):
    return DEEPSPEED | {"zero_optimization": {"stage": stage} | parts}


@pytest.mark.parametrize(
    ("document", "parallel", "words"),
    [
        (
            FSDP | {"fsdp_config": {"fsdp_offload_params": True}},
            "fsdp",
            ["weights"],
        ),
        (TRAINER | {"fsdp": "full_shard offload auto_wrap"}, "fsdp", ["weights"]),
        (TRAINER | {"fsdp": True, "fsdp_config": {"cpu_offload": True}}, "fsdp", ["weights"]),
        (zero(2, offload_optimizer={"device": "cpu"}), "zero2", ["optimizer", "gradients"]),
        (
            zero(3, offload_optimizer={"device": "cpu"}, offload_param={"device": "cpu"}),
            "zero3",
            ["optimizer", "gradients", "weights"],
        ),
        (lightning("deepspeed_stage_2_offload"), "zero2", ["optimizer", "gradients"]),
        (lightning("deepspeed_stage_3_offload"), "zero3", ["weights"]),
        (
            lightning({"class_path": "FSDPStrategy", "init_args": {"cpu_offload": True}}),
            "fsdp",
            ["weights"],
        ),
    ],
)
def test_what_is_offloaded_is_asked(tmp_path, document, parallel, words):
    file = tmp_path / "run.json"
    file.write_text(json.dumps(document))
    found = of_file(file, COUNTS | {"gpus": 8})
    assert (found.values["parallel"], found.values["offload"]) == (parallel, words)


@pytest.mark.parametrize(
    "document",
    [zero(3, offload_optimizer={"device": "nvme"}), zero(2, offload_param={"device": "cpu"})],
)
def test_what_no_plan_offloads_is_said(tmp_path, document):
    file = tmp_path / "run.json"
    file.write_text(json.dumps(document))
    found = of_file(file, COUNTS | {"gpus": 8})
    assert "offload" not in found.values and any("offload" in note for note in found.notes)
