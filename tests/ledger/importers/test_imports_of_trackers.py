"""Past runs out of Weights & Biases, MLflow and TensorBoard."""

import importlib.util
import json

import pytest
from run_folders import only, wandb_folder

from planner.ledger.importers import progress
from planner.ledger.importers.reading import read


def test_a_wandb_folder(tmp_path):
    record = only(read(wandb_folder(tmp_path)))
    assert {
        name: record.setup[name]
        for name in (
            "micro_batch",
            "accumulation",
            "optimizer",
            "precision",
            "epochs",
            "model",
            "gradient_checkpointing",
            "gpu",
        )
    } == dict(
        micro_batch=8,
        accumulation=2,
        optimizer="adamw_fused",
        precision="amp_bf16",
        epochs=3,
        model="gpt2",
        gradient_checkpointing="full",
        gpu="NVIDIA A100-SXM4-80GB",
    )
    assert (
        record.measurement["wall_seconds"] == 300.5
        and record.measurement["steps"] == 290
        and record.measurement["step_seconds"] == pytest.approx(1.0)
    )
    assert (
        record.created.startswith("2026-01-01")
        and "alice" not in record.to_json()
        and "node17" not in record.to_json()
    )


@pytest.mark.parametrize("ending", ["csv", "json", "jsonl"])
def test_a_wandb_history_gives_the_median_between_its_lines(tmp_path, ending):
    rows = [
        {
            "_step": i,
            "_runtime": 10.0 + 5 * i + (600 if i >= 5 else 0),
            "_timestamp": 1767225600 + i,
            "train/global_step": 10 * i,
            "train/loss": 3 - i / 10,
        }
        for i in range(12)
    ]
    file = tmp_path / f"history.{ending}"
    if ending == "csv":
        file.write_text(
            "\n".join([",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)])
        )
    else:
        file.write_text(json.dumps(rows) if ending == "json" else "\n".join(map(json.dumps, rows)))
    record = only(read(file))
    assert record.measurement["step_seconds"] == pytest.approx(0.5), (
        "the evaluation of 600 s is in one stretch only"
    )
    assert (
        record.measurement["steps"] == 110
        and record.measurement["wall_seconds"] == pytest.approx(655)
        and record.measurement["loss_first"] == 3
    )


def test_numbers_of_log_lines_are_no_steps(tmp_path):
    (tmp_path / "h.csv").write_text(
        "_step,_runtime\n" + "\n".join(f"{i},{10 * i}" for i in range(10))
    )
    record = only(read(tmp_path / "h.csv"))
    assert (
        "step_seconds" not in record.measurement
        and "steps" not in record.measurement
        and record.measurement["wall_seconds"] == 90
    )


def test_mlflow(tmp_path):
    run = tmp_path / "0" / "abc123"
    for folder in ("params", "metrics/system", "tags"):
        (run / folder).mkdir(parents=True)
    (tmp_path / "0" / "meta.yaml").write_text("experiment_id: '0'\n")
    (run / "meta.yaml").write_text(
        "start_time: 1767225600000\nend_time: 1767225700000\nstatus: 3\nuser_id: alice\n"
    )
    (run / "tags" / "mlflow.user").write_text("alice")
    (run / "params" / "per_device_train_batch_size").write_text("4")
    (run / "params" / "model_name_or_path").write_text("bert-base-uncased")
    (run / "metrics" / "loss").write_text(
        "\n".join(f"{1767225600000 + 2000 * i} {2 - i / 100} {5 * i}" for i in range(20))
        + "\nbroken line\n"
    )
    (run / "metrics" / "system" / "gpu_0_memory_usage_megabytes").write_text(
        "1767225600000 8000 0\n1767225610000 9000.5 1\n"
    )
    taken = read(tmp_path)
    record = only(taken)
    assert (
        taken.format == "mlflow"
        and record.measurement["step_seconds"] == pytest.approx(0.4)
        and record.measurement["wall_seconds"] == 100
    )
    assert (
        record.measurement["device_used_bytes"] == 9_000_500_000
        and record.measurement["steps"] == 95
        and record.setup["micro_batch"] == 4
    )
    assert (
        record.created.startswith("2026-01-01T00:01:40")
        and taken.rows_left_out == 1
        and "row 21" in taken.problems[0]
        and "alice" not in record.to_json()
    )


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="needs tensorboard")
def test_tensorboard(tmp_path):
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(tmp_path))
    text = TensorProto(
        dtype=7,
        string_val=[json.dumps({"per_device_train_batch_size": 16, "optim": "adafactor"}).encode()],
    )
    metadata = {"plugin_data": {"plugin_name": "text"}}
    writer.add_event(
        Event(
            wall_time=1767225600,
            step=0,
            summary=Summary(
                value=[Summary.Value(tag="args/text_summary", tensor=text, metadata=metadata)]
            ),
        )
    )
    for i in range(12):
        writer.add_event(
            Event(
                wall_time=1767225600 + 3 * i,
                step=4 * i,
                summary=Summary(value=[Summary.Value(tag="train/loss", simple_value=2.0 - i / 8)]),
            )
        )
    writer.close()
    record = only(read(tmp_path))
    assert (
        record.measurement["step_seconds"] == pytest.approx(0.75)
        and record.measurement["steps"] == 44
        and record.measurement["loss_last"] == 0.625
    )
    assert record.setup["micro_batch"] == 16 and record.setup["optimizer"] == "adafactor"
    (file,) = tmp_path.glob("events*")
    file.write_bytes(b"\x80\x04garbage" * 100)
    assert not read(tmp_path).records


def test_steps_that_go_back_are_left_out():
    forward = [(10.0 * i, 5.0 * i) for i in range(8)]
    assert progress.of_moments([*forward, (1000.0, 1.0), (1010.0, 6.0)])[
        "step_seconds"
    ] == pytest.approx(2.0)
    assert progress.of_moments(forward[:2]) == {} and progress.of_moments([]) == {}
