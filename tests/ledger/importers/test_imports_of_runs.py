"""Past runs out of the logs of others: what is known is taken, nothing is invented, and hostile
files cost one line each."""

import importlib.util
import json
import pickle

import pytest

from planner.cli import main
from planner.errors import DataError, PlannerError, QuestionError, UnknownNameError
from planner.ledger.importers import progress, sacct
from planner.ledger.importers.found import Problems
from planner.ledger.importers.reading import read, recognise
from planner.ledger.importers.text import lines_of, number, read_text
from planner.ledger.store import Ledger


def only(taken):
    (record,) = taken.records
    return record


# ---------------------------------------------------------------- transformers

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


# ---------------------------------------------------------------- trackers


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


# ---------------------------------------------------------------- tables


def test_columns_are_mapped_with_their_units(tmp_path):
    (tmp_path / "t.csv").write_text(
        "net;iter_time_ms;peak (GiB);BS\ngpt2;12.5;3.5;8\nbert;20;1e400;8\nvit;-3;1;8\n=cmd|' "
        "/C calc'!A0;1;1;8\nresnet;nan;2;8\n;7;;\nt5;5;2;8;9\n"
    )
    taken = read(
        tmp_path / "t.csv",
        mapping=[
            "step_seconds=iter_time_ms:ms",
            "peak_allocated_bytes=peak (GiB):GiB",
            "model=net",
            "micro-batch=BS",
        ],
    )
    assert [record.setup.get("model") for record in taken.records] == [
        "gpt2",
        None,
    ] and taken.rows_left_out == 5
    assert (
        taken.records[0].measurement["step_seconds"] == pytest.approx(0.0125)
        and taken.records[0].measurement["peak_allocated_bytes"] == 3.5 * 2**30
    )
    assert [line.partition(":")[0] for line in taken.problems] == [
        f"t.csv row {row}" for row in (3, 4, 5, 6, 8)
    ]
    assert "1e400" in taken.problems[0] and "formula" in taken.problems[2]


def test_rows_can_be_the_steps_of_one_run(tmp_path):
    (tmp_path / "t.csv").write_text("ms,mem\n" + "900,5\n" + "100,7\n" * 20 + "oops,9\n")
    taken = read(
        tmp_path / "t.csv",
        mapping=["step_seconds=ms:ms", "peak_allocated_bytes=mem:MB"],
        steps=True,
    )
    found = only(taken).measurement
    assert (
        found["step_seconds"] == pytest.approx(0.1)
        and found["steps"] == 21
        and found["peak_allocated_bytes"] == 7_000_000
        and taken.rows_left_out == 1
    )


def test_the_tables_own_names_need_no_mapping_and_parts_of_a_step_are_not_steps(tmp_path):
    (tmp_path / "t.csv").write_text(
        "model,gpu,strategy,measures,step_seconds,peak_bytes,memory,oom,lora_targets\n"
        "a,h100,fine-tune,step,0.5,100,reserved,0,\nb,h100,lora,forward,0.5,,,0,q "
        "v\nc,h100,lora,step,,,,1,\nd,h100,lora,step,,,,0,\n"
    )
    taken = read(tmp_path / "t.csv")
    first, second, third = taken.records
    assert (
        first.measurement
        == {"step_seconds": 0.5, "peak_reserved_bytes": 100, "out_of_memory": False}
        and first.setup["strategy"] == "fine_tune"
    )
    assert (
        second.measurement["forward_seconds"] == 0.5
        and "step_seconds" not in second.measurement
        and second.setup["lora_targets"] == ["q", "v"]
    )
    assert third.measurement == {"out_of_memory": True} and taken.rows_left_out == 1


@pytest.mark.parametrize(
    "mapping, error, said",
    [
        (["step_seconds"], QuestionError, "NAME=COLUMN"),
        (["step_second=ms"], UnknownNameError, "step_seconds"),
        (["step_seconds=ms:parsec"], QuestionError, "Units"),
        (["step_seconds=nothing"], QuestionError, "no column"),
    ],
)
def test_a_wrong_mapping_says_what_is_possible(tmp_path, mapping, error, said):
    (tmp_path / "t.csv").write_text("ms\n1\n")
    with pytest.raises(error, match=said):
        read(tmp_path / "t.csv", mapping=mapping)


# ---------------------------------------------------------------- machines

SMI = """timestamp, name, index, memory.used [MiB], power.draw [W], utilization.gpu [%]
2026/01/01 00:00:00.000, NVIDIA H100 80GB HBM3, 0, 1000 MiB, 100.00 W, 10 %
2026/01/01 00:00:00.000, NVIDIA H100 80GB HBM3, 1, 3 MiB, 60.00 W, 0 %
2026/01/01 00:00:10.000, NVIDIA H100 80GB HBM3, 0, 40000 MiB, 300.00 W, 99 %
2026/01/01 00:00:10.000, NVIDIA H100 80GB HBM3, 1, 3 MiB, [N/A], 0 %
2026/01/01 00:00:20.000, NVIDIA H100 80GB HBM3, 0, 30000 MiB, 500.00 W, 99 %
2026/01/01 00:00:20.000, NVIDIA H100 80GB HBM3, 1, -3 MiB, 1e99999 W, 0 %
2026/01/01 00:00:30.0
"""


def test_nvidia_smi(tmp_path):
    (tmp_path / "smi.log").write_text(SMI)
    taken = read(tmp_path / "smi.log")
    record = only(taken)
    assert taken.format == "nvidia-smi" and record.setup == {
        "gpu": "NVIDIA H100 80GB HBM3",
        "gpus": 1,
    }
    assert record.measurement == {
        "device_used_bytes": 40000 * 2**20,
        "mean_watts": pytest.approx(300),
        "energy_joules": pytest.approx(6000),
        "wall_seconds": 20,
    }
    assert (
        any("1 of 2 devices were idle" in note for note in record.notes)
        and "row 7" in taken.problems[0]
    )


def test_sacct(tmp_path):
    (tmp_path / "jobs.txt").write_text(
        "JobID|JobName|Elapsed|AllocTRES|MaxRSS|ConsumedEnergyRaw|State\n"
        "77|alice-train|1-02:00:30|billing=8,cpu=8,gres/gpu:a100=4,gres/gpu=4,node=1||0|COMPLETED\n"
        "77.batch|batch|1-02:00:30|cpu=8|2048K|7200000|COMPLETED\n"
        "78|x|soon|gres/gpu=1|||FAILED\n79|y|00:10:00|gres/gpu=2|||OUT_OF_MEMORY\n"
    )
    taken = read(tmp_path / "jobs.txt")
    first, second = taken.records
    assert first.measurement == {
        "wall_seconds": 93630,
        "energy_joules": 7.2e6,
        "host_peak_bytes": 2048 * 1024,
    } and first.setup == {"gpus": 4, "gpu": "a100"}
    assert "out_of_memory" not in second.measurement and any(
        "host's memory" in note for note in second.notes
    )
    assert (
        taken.rows_left_out == 1
        and "job 78" in taken.problems[0]
        and "alice" not in first.to_json()
    )


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("00:00:01", 1),
        ("1-00:00:00", 86400),
        ("05:30", 330),
        ("01:00.5", 60.5),
        ("00:00:00", None),
        ("", None),
    ],
)
def test_slurms_times(text, seconds):
    assert sacct.seconds_of(text) == seconds


# ---------------------------------------------------------------- hostile files


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"]
)
def test_any_encoding_is_read(tmp_path, encoding):
    (tmp_path / "t.csv").write_bytes("model,step_seconds\nmodèle,0.5\n".encode(encoding))
    taken = read(tmp_path / "t.csv")
    assert only(taken).setup["model"] == "modèle" and bool(taken.problems) == (
        encoding == "latin-1"
    )


@pytest.mark.parametrize(
    "cell",
    ["1e400", "nan", "inf", "-inf", "1_000", "0x10", "1e99", "=1+1", "１２", "1,5", "1" * 5000],
)
def test_numbers_that_are_none(cell):
    with pytest.raises(ValueError):
        number(cell)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b'{"log_history": [{"loss": 1',
        b"[]",
        b"null",
        b"\xff\xfe{\x00",
        b"[" * 100_000,
        b'{"log_history": 3}',
    ],
)
def test_a_damaged_state_is_one_line(tmp_path, raw):
    (tmp_path / "trainer_state.json").write_bytes(raw)
    with pytest.raises(PlannerError) as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value) and "trainer_state.json" in str(caught.value)


def test_values_of_the_wrong_kind_are_passed_over(tmp_path):
    state = {
        "global_step": "many",
        "max_steps": None,
        "train_batch_size": 2.5,
        "num_train_epochs": -1,
        "log_history": [
            3,
            None,
            {"loss": "NaN"},
            {"loss": {}},
            {"train_runtime": 50.0, "eval_runtime": [1], "train_samples_per_second": 1e400},
        ],
    }
    record = only(
        read(
            trainer_folder(
                tmp_path,
                state,
                config=["no object"],
                adapter_config={"peft_type": "LORA", "r": "x", "target_modules": 3},
            )
        )
    )
    assert record.measurement == {"wall_seconds": 50.0} and not {
        "micro_batch",
        "epochs",
        "lora_rank",
        "lora_targets",
    } & set(record.setup)


def test_gigantic_lines_are_left_out(tmp_path):
    (tmp_path / "t.csv").write_text("model,step_seconds\na,1\n" + "b" * 2_000_000 + ",1\nc,2\n")
    taken = read(tmp_path / "t.csv")
    assert (
        len(taken.records) == 2
        and taken.rows_left_out == 1
        and "row 3" in taken.problems[0]
        and len(taken.problems[0]) < 300
    )


def test_a_thousand_bad_rows_are_counted_and_twenty_are_named(tmp_path):
    (tmp_path / "t.csv").write_text("model,step_seconds\na,1\n" + "b,-1\n" * 1000)
    taken = read(tmp_path / "t.csv")
    assert (
        len(taken.records) == 1
        and taken.rows_left_out == 1000
        and len(taken.problems) == 20
        and taken.more_problems == 980
    )


@pytest.mark.parametrize(
    "name, raw",
    [
        ("a.csv", b""),
        ("a.csv", b"model,step_seconds\n"),
        ("a.csv", b"x,y\n1,2\n"),
        ("a.csv", b"a,a\n1,2\n"),
        ("a.bin", b"\0" * 100),
        ("smi.csv", b"memory.used [MiB]\n"),
        ("a.csv", b"\xff\xfea"),
        ("wandb-summary.json", b"[1]"),
        ("history.jsonl", b"_runtime _step\n"),
    ],
)
def test_what_cannot_be_read_at_all_is_one_line(tmp_path, name, raw):
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(PlannerError) as caught:
        taken = read(tmp_path / name)
        assert not taken.records
        raise DataError("nothing taken")
    assert "\n" not in str(caught.value)


def test_a_log_of_nothing_known(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "missing")
    with pytest.raises(DataError, match="--format"):
        read(tmp_path)
    with pytest.raises(UnknownNameError):
        read(tmp_path, format="comet")


def test_text_and_lines(tmp_path):
    file = tmp_path / "x"
    file.write_text("one\n\n\0two\n")
    assert list(lines_of(file, Problems())) == [(1, "one"), (3, "two")] and read_text(
        file, Problems()
    ).startswith("one")


# ---------------------------------------------------------------- the command


@pytest.fixture
def command(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PLANNER_LEDGER", str(tmp_path / "ledger" / "runs.sqlite"))

    def call(*arguments):
        code = main.run(["runs", "import", *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_the_command_says_what_was_taken_and_what_is_unknown(tmp_path, command):
    code, out, err = command(
        trainer_folder(tmp_path / "."),
        "--gpu",
        "h100-sxm",
        "--strategy",
        "fine-tune",
        "--lora-targets",
        "a, b",
    )
    assert code == 0 and err == "" and "Read as trainer: 1 run" in out and "Added 1 run" in out
    assert (
        "unknown: model, precision, optimizer; say them with --model --precision --optimizer" in out
    )
    with Ledger(tmp_path / "ledger" / "runs.sqlite", create=False) as ledger:
        (record,) = ledger.records()
    assert record.setup["strategy"] == "fine_tune" and record.setup["lora_targets"] == ["a", "b"]


def test_the_same_import_twice_is_one_run_and_a_corrected_one_is_said(tmp_path, command):
    folder = trainer_folder(tmp_path)
    command(folder, "--gpu", "a100")
    assert "Added 0 runs; 1 was here already" in command(folder, "--gpu", "a100")[1]
    assert "had been imported with another setup" in command(folder, "--gpu", "h100-sxm")[1]


def test_a_dry_run_writes_nothing(tmp_path, command):
    code, out, _ = command(trainer_folder(tmp_path), "--dry-run")
    assert code == 0 and "nothing was written" in out and not (tmp_path / "ledger").exists()


def test_what_was_left_out_goes_to_standard_error(tmp_path, command):
    (tmp_path / "t.csv").write_text("model,step_seconds\na,1\nb\x1b[31m,-1\n")
    code, out, err = command(tmp_path / "t.csv")
    assert code == 0 and "Added 1 run" in out and "row 3" in err and "\x1b" not in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["missing"],
        ["t.csv", "--strategy", "loraa"],
        ["t.csv", "--map", "x"],
        ["t.csv", "--format", "comet"],
        ["bad.csv"],
    ],
)
def test_wrong_calls_are_one_line_and_exit_2(tmp_path, command, arguments):
    (tmp_path / "t.csv").write_text("model,step_seconds\na,1\n")
    (tmp_path / "bad.csv").write_text("model,step_seconds\na,-1\n")
    code, _, err = command(tmp_path / arguments[0], *arguments[1:])
    assert code == 2 and "Traceback" not in err and err.splitlines()[-1].startswith("planner: ")
