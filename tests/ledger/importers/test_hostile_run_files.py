"""Hostile files cost one line each."""

import pytest
from run_folders import only, trainer_folder

from planner.errors import DataError, PlannerError, UnknownNameError
from planner.ledger.importers.found import Problems
from planner.ledger.importers.reading import read
from planner.ledger.importers.text import lines_of, number, read_text


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
