"""Past runs out of the logs of transformers: what is known is taken, nothing is invented."""

import pickle

import pytest
from run_folders import STATE, only, trainer_folder

from planner.ledger.importers.reading import read, recognise


def test_a_trainers_state_gives_its_times_without_evaluation(tmp_path):
    folder = trainer_folder(
        tmp_path,
        config={
            "model_type": "llama",
            "architectures": ["LlamaForCausalLM"],
            "hidden_size": 64,
            "_name_or_path": "meta-llama/Llama-3.2-1B",
        },
    )
    record = only(read(folder, known={"gpu": "h100-sxm", "strategy": "fine_tune"}))
    assert (
        record.kind == "imported"
        and "trainer_state" not in record.id
        and recognise(folder) == "trainer"
    )
    assert (
        record.measurement["step_seconds"] == pytest.approx(2.0)
        and record.measurement["wall_seconds"] == 220
        and record.measurement["steps"] == 100
    )
    assert (
        record.measurement["samples_per_second"] == 7.3
        and record.measurement["paused_seconds"] == 20
        and record.measurement["loss_last"] == 1.5
    )
    assert {
        name: record.setup[name]
        for name in ("model", "task", "micro_batch", "epochs", "gpu", "strategy", "steps")
    } == dict(
        model="meta-llama/Llama-3.2-1B",
        task="causal_lm",
        micro_batch=4,
        epochs=2,
        gpu="h100-sxm",
        strategy="fine_tune",
        steps=100,
    )
    assert record.setup["architecture"] == {"kind": "llama", "hidden_size": 64}
    assert not {"precision", "optimizer", "accumulation", "sequence_length", "gpus"} & set(
        record.setup
    ), "nothing of it is known"


def test_a_run_that_stopped_early_keeps_no_rate_of_the_planned_samples(tmp_path):
    record = only(read(trainer_folder(tmp_path, STATE | {"global_step": 50})))
    assert (
        record.measurement["step_seconds"] == pytest.approx(4.0)
        and "samples_per_second" not in record.measurement
    )


def test_an_adapter_does_not_tell_lora_from_qlora(tmp_path):
    folder = trainer_folder(
        tmp_path,
        adapter_config={
            "peft_type": "LORA",
            "r": 8,
            "lora_dropout": 0.05,
            "target_modules": ["v_proj", "q_proj"],
            "base_model_name_or_path": "/home/alice/models/base",
        },
    )
    record = only(read(folder))
    assert (
        record.setup["lora_rank"] == 8
        and record.setup["lora_targets"] == ["q_proj", "v_proj"]
        and record.setup["model"] == "base"
    )
    assert (
        "strategy" not in record.setup
        and any("QLoRA" in note for note in record.notes)
        and "alice" not in record.to_json()
    )


def test_memory_metrics_of_the_trainer_add_up(tmp_path):
    results = STATE["log_history"][-1] | {
        "before_init_mem_gpu": 1000,
        "init_mem_gpu_alloc_delta": 200,
        "train_mem_gpu_alloc_delta": 30,
        "train_mem_gpu_peaked_delta": 4,
    }
    assert (
        only(read(trainer_folder(tmp_path, all_results=results))).measurement[
            "peak_allocated_bytes"
        ]
        == 1234
    )


def test_the_pickle_beside_it_is_never_read(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (exec, (f"open({str(tmp_path / 'exploded')!r}, 'w')",))

    (tmp_path / "training_args.bin").write_bytes(pickle.dumps(Bomb()))
    assert read(trainer_folder(tmp_path)).records and not (tmp_path / "exploded").exists()


def test_a_checkpoint_in_the_middle_says_no_times(tmp_path):
    taken = read(trainer_folder(tmp_path, STATE | {"log_history": STATE["log_history"][:2]}))
    assert not taken.records and taken.rows_left_out == 1 and "save_state" in taken.problems[0]


def test_of_a_folder_of_checkpoints_the_last_counts(tmp_path):
    for step in (9, 100):
        (tmp_path / f"checkpoint-{step}").mkdir()
        trainer_folder(
            tmp_path / f"checkpoint-{step}", STATE | {"global_step": step, "max_steps": step}
        )
    assert only(read(tmp_path)).measurement["steps"] == 100
