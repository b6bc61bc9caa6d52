"""The command that imports past runs."""

import pytest
from run_folders import trainer_folder

from planner.cli import main
from planner.ledger.store import Ledger


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
