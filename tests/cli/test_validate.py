"""``planner validate`` and ``planner correct``: reports, limits for CI, pictures; every refusal is
one line."""

import json
import sys
from pathlib import Path

import pytest

from planner.cli import main
from planner.ledger.store import Ledger

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "validate"))
from measured_examples import SHIPPED, records  # noqa: E402

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def planner(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PLANNER_LEDGER", str(tmp_path / "own" / "runs.sqlite"))
    monkeypatch.setenv("PLANNER_DEVICES", str(tmp_path / "devices"))

    def call(*arguments):
        code = main.run([str(a) for a in arguments])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def ledger(planner, tmp_path):
    with Ledger() as book:
        made = records(tmp_path, runs=SHIPPED[:4])
        for record in made:
            book.append(record)
    return made


def refused(answer):
    code, out, err = answer
    assert code == 2 and out == "" and err.count("\n") == 1 and err.startswith("planner: "), err
    return err


def test_without_a_run_it_says_how_to_get_one(planner):
    assert "planner measure" in refused(planner("validate")) and "planner measure" in refused(
        planner("correct")
    )


def test_the_report_and_the_limits(planner, ledger):
    code, out, _ = planner("validate")
    assert (
        code == 0
        and "step time" in out
        and "memory, reserved" in out
        and "4 runs asked again" in out
        and "corrected by other runs" in out
    )
    code, _, err = planner("validate", "--max-median-error", "0.1", "--quantity", "time")
    assert code == 1 and err.count("\n") == 1 and "time: median error" in err
    assert (
        planner(
            "validate",
            "--max-median-error",
            "0.5",
            "--max-p90-error",
            "0.5",
            "--min-coverage",
            "0.5",
        )[0]
        == 0
    )
    assert (
        planner("validate", "--min-coverage", "1.0", "--strategy", "lora", "--quantity", "time")[0]
        == 0
    )


def test_limits_cannot_hold_for_nothing(planner, ledger):
    assert "no run could be judged" in refused(
        planner("validate", "--max-median-error", "0.5", "--quantity", "usd")
    )


def test_json_is_one_document(planner, ledger):
    code, out, _ = planner("validate", "--json", "--max-median-error", "0.1", "--quantity", "time")
    document = json.loads(out)
    assert (
        code == 1
        and document["limits_broken"][0].startswith("time")
        and document["runs"] == 4
        and document["today"] == "plain"
    )
    assert {row["quantity"] for row in document["accounts"]["plain"]["all"]} >= {
        "time",
        "allocated",
        "reserved",
        "device",
        "context",
    }
    assert {row["strategy"] for row in document["accounts"]["left_out"]["strategy"]} == {
        "fine_tune",
        "lora",
    }
    assert document["worst"][0]["why"]


def test_pictures_and_files(planner, ledger, tmp_path):
    pytest.importorskip("matplotlib")
    assert planner("validate", "--plot", tmp_path / "a.png", "--write", tmp_path / "a.md")[0] == 0
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)
    text = (tmp_path / "a.md").read_text()
    assert "![Estimate over measurement](a.png)" in text and "|  | runs | median error |" in text
    assert (
        planner("validate", "--plot", tmp_path / "a.svg")[0] == 0
        and "<svg" in (tmp_path / "a.svg").read_text()
    )
    assert "no picture format" in refused(planner("validate", "--plot", tmp_path / "a.gif"))
    assert "no such folder" in refused(planner("validate", "--write", tmp_path / "no" / "a.md"))


def test_a_hostile_table_is_one_line_each_and_the_rest_is_judged(planner, tmp_path):
    table = tmp_path / "runs.csv"
    table.write_bytes(
        b"id,model,task,strategy,gpu,micro_batch,sequence_length,precision,optimizer,step_seconds\n=1+1,gpt2,causal_lm,fine_tune,t4,8,256,fp32,adamw,1\n"
        b"b,gpt2,causal_lm,fine_tune,h100-sxm,8,256,amp_bf16,adamw,0.05\nc,gpt2,causal_lm,fine_tune,h100-sxm,1e99,256,amp_bf16,adamw,0.05\n"
        b"\xff\xfe\xfd,gpt2,causal_lm,fine_tune,nogpu,8,256,amp_bf16,adamw,0.05\n"
    )
    code, out, _ = planner("validate", table)
    assert (
        code == 0
        and "What could not be read: 2 rows" in out
        and "runs.csv row 2:" in out
        and "runs.csv row 4:" in out
        and "3 runs" not in out
    )
    assert "2 runs asked again" in out and "Not judged: 1" in out


@pytest.mark.parametrize(
    "words, reason",
    [
        (("nowhere.csv",), "no such file"),
        (("publishd",), "Did you mean published"),
        (("--basis", "guess", "published"), "unknown basis 'guess'"),
        (("--quantity", "speed"), "unknown quantity 'speed'"),
        (("--ledger", "no.sqlite"), "no.sqlite"),
    ],
)
def test_wrong_questions_are_one_line(planner, ledger, words, reason):
    assert reason in refused(planner("validate", *words))


def test_corrections_are_learnt_shown_used_and_removed(planner, ledger, tmp_path):
    assert (
        planner("correct", "--no-keep")[0] == 0
        and "No correction is in force" in planner("correct", "--show")[1]
    )
    code, out, _ = planner("correct")
    assert (
        code == 0
        and "step time, datasheet, text" in out
        and "in force now, kept in" in out
        and "models that are left out" in out
        and "not in force" in out
        and "judged by the others" in out
    )
    shown = json.loads(planner("correct", "--show", "--json")[1])["corrections"]
    time = next(c for c in shown if c["quantity"] == "time" and c["family"] == "text")
    assert 0.15 < time["bias_log"] < 0.3 and time["runs"] == 4 and time["models"] == 4
    with Ledger() as book:
        for record in records(tmp_path, runs=SHIPPED[4:]):
            book.append(record)
    document = json.loads(planner("validate", "--json")[1])
    assert document["today"] == "in_force" and {
        row["count"] for row in document["accounts"]["in_force"]["all"] if row["quantity"] == "time"
    } == {2}
    assert (
        planner("correct", "--remove")[0] == 0
        and "No correction" in planner("correct", "--remove")[1]
    )
    assert json.loads(planner("validate", "--json")[1])["accounts"]["in_force"]["all"] == []


def test_show_and_remove_are_alone(planner):
    assert "Give them alone" in refused(planner("correct", "--show", "--remove"))
    assert "unknown basis" in refused(planner("correct", "--basis", "best"))
