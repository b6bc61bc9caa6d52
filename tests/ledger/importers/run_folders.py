"""Folders of past runs as trainers and trackers leave them."""

import json


def only(taken):
    (record,) = taken.records
    return record


STATE = {
    "global_step": 100,
    "max_steps": 100,
    "num_train_epochs": 2,
    "train_batch_size": 4,
    "num_input_tokens_seen": 0,
    "log_history": [
        {"loss": 2.5, "step": 10, "epoch": 0.2},
        {"eval_loss": 2.0, "eval_runtime": 20.0, "step": 50},
        {"loss": 1.5, "step": 100, "epoch": 2.0},
        {
            "train_runtime": 220.0,
            "train_samples_per_second": 7.3,
            "train_steps_per_second": 0.45,
            "total_flos": 1e15,
            "step": 100,
        },
    ],
}


def trainer_folder(tmp_path, state=STATE, **files):
    (tmp_path / "trainer_state.json").write_text(json.dumps(state))
    for name, value in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
    return tmp_path


def wandb_folder(tmp_path):
    files = tmp_path / "files"
    files.mkdir()
    (files / "wandb-summary.json").write_text(
        json.dumps(
            {
                "_runtime": 300.5,
                "_timestamp": 1767225600,
                "_step": 30,
                "train/global_step": 290,
                "train_runtime": 290.0,
            }
        )
    )
    (files / "config.yaml").write_text(
        "per_device_train_batch_size:\n  value: 8\ngradient_accumulation_steps: {value: "
        "2}\noptim: {value: adamw_torch_fused}\n"
        "bf16: {value: true}\ntorch_dtype: {value: float32}\nmax_steps: {value: "
        "-1}\nnum_train_epochs: {value: 3}\n"
        "_name_or_path: {value: gpt2}\ngradient_checkpointing: {value: "
        "true}\nattn_implementation: {value: sdpa}\n"
    )
    (files / "wandb-metadata.json").write_text(
        json.dumps(
            {"gpu": "NVIDIA A100-SXM4-80GB", "host": "node17", "username": "alice", "cpu_count": 64}
        )
    )
    return tmp_path
