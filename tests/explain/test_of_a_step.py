"""``planner explain``: figures are the answer's, trees sum to them, changes are what asking anew
gives."""

import csv
import importlib
import io
import json
import re

import pytest

from planner.answer.estimate import estimate
from planner.cli.main import run
from planner.errors import QuestionError
from planner.explain.asked_anew import asked_anew, flags, held_question
from planner.explain.changes import tries
from planner.explain.clocked import clocked
from planner.explain.document import explain
from planner.explain.rows import time_rows
from planner.explain.schema import Explained
from planner.explain.subject import subject
from planner.question import Question
from planner.report.words import seconds_text

LLAMA = {"model": "Llama-3.2-1B", "samples": 20_000, "tokens_per_sample": 400, "gpu": "h100"}
QUESTIONS = {
    "full": {**LLAMA, "strategy": ["fine_tune"]},
    "lora": {**LLAMA, "strategy": ["lora"], "max_length": 512},
    "searched": {**LLAMA, "gpu": None},
    "four": {"model": "bert-base-uncased", "samples": 9_000, "tokens_per_sample": 100,
             "gpu": "a100-sxm-80", "gpus": 4, "strategy": ["fine_tune"]},
    "processor": {"model": "bert-base-uncased", "samples": 900, "tokens_per_sample": 100,
                  "gpu": "cpu", "price": 0.5, "strategy": ["fine_tune"]},
    "by steps": {"model": "Llama-3.1-8B", "samples": 5_000, "tokens_per_sample": 200,
                 "gpu": "rtx-4090", "strategy": ["qlora"]},
    "images": {"model": "vit_base_patch16_224", "samples": 5_000, "classes": 10, "gpu": "l4",
               "strategy": ["fine_tune"]},
    "two stages": {"model": "resnet50", "samples": 5_000, "classes": 10, "gpu": "t4",
                   "strategy": ["feature_extraction"]},
    "too large": {"model": "Llama-3.2-3B", "samples": 900, "tokens_per_sample": 400,
                  "gpu": "t4", "strategy": ["fine_tune"], "micro_batch": 1},
}  # fmt: skip
ASKED = ["explain", "Llama-3.2-1B", "--samples", "20k", "--tokens-per-sample", "400", "--gpu",
         "h100", "--strategy", "lora", "--no-changes"]  # fmt: skip


@pytest.mark.parametrize("name", QUESTIONS)
def test_figures_are_the_answers_and_everything_sums(name):
    question = Question(**QUESTIONS[name])
    document = explain(question, changes=False)
    Explained.model_validate(document)  # which adds up trees, kinds, phases and categories
    answer, option = estimate(question), document["option"]
    same = next(
        o
        for o in answer["options"]
        if all(o[key] == option[key] for key in ("strategy", "variant", "gpu"))
    )
    assert option["is_recommended"] == (answer["recommended"] is not None)
    assert document["time"]["seconds"] == pytest.approx(same["step"]["seconds"]["p50"], rel=1e-9)
    assert document["memory"]["by_category"] == same["memory"]["breakdown"]
    assert document["memory"]["device_used_bytes"] == same["memory"]["device_used_bytes"]
    assert option["wall_hours"] == same["run"]["wall_hours"]
    assert option["usd"] == (same["cost"] or {}).get("usd")
    assert document["time"]["by_kind"].keys() <= same["step"]["by_kind"].keys()


def test_kinds_are_the_answers_kinds():
    """Of one micro-batch with its update: a step without accumulation is that."""
    question = Question(**QUESTIONS["full"], micro_batch=4, global_batch=4)
    document, answer = explain(question, changes=False), estimate(question)
    step = answer["options"][0]["step"]
    factor = step["seconds"]["p50"] / (document["time"]["seconds"] / clocked_factor(question))
    for kind, seconds in document["time"]["by_kind"].items():
        assert seconds == pytest.approx(step["by_kind"][kind] * factor, rel=1e-6)


def clocked_factor(question):
    found = subject(question)
    return clocked(question, found.option.setting, found.option.rented).factor


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_timeline_reaches_the_peak_and_ends_with_the_step(name):
    found = explain(Question(**QUESTIONS[name]), changes=False)["memory"]
    timeline, parts = found["timeline"], found["by_category"]
    highest = max(map(sum, zip(*timeline["bytes"].values())))
    live = sum(size for part, size in parts.items() if part not in ("fragmentation", "context"))
    assert highest == pytest.approx(live, rel=1e-9)
    assert 0 <= timeline["seconds"][0] <= timeline["seconds"][-1]
    assert timeline["seconds"][-1] <= timeline["step_seconds"] * (1 + 1e-9)
    assert len(timeline["seconds"]) <= 400


@pytest.mark.parametrize("name", [name for name in QUESTIONS if name != "processor"])
def test_what_is_held_is_the_option_itself(name):
    """The question with everything settled finds the same figures: what a change shows is the
    change's own."""
    document = explain(Question(**QUESTIONS[name]), changes=False)
    held, option = document["held"], document["option"]
    assert held["wall_hours"] == pytest.approx(option["wall_hours"]["p50"], rel=1e-9)
    assert held["usd"] == pytest.approx(option["usd"]["p50"], rel=1e-9)
    used = document["memory"]["device_used_bytes"]["p50"]
    assert held["device_used_bytes"] == pytest.approx(used, rel=1e-9)


@pytest.fixture
def few(monkeypatch):
    """Changes that need no recording."""
    wanted = ("micro_batch_up", "micro_batch_down", "fused_loss", "no_evaluation", "spot",
              "gpus_up", "gpu_cheapest", "gpu_fastest", "group_by_length")  # fmt: skip
    # `planner.explain` is a function too: the module is asked by its whole name
    monkeypatch.setattr(
        importlib.import_module("planner.explain.asked_anew"),
        "tries",
        lambda found: [one for one in tries(found) if one.key in wanted],
    )


def test_a_change_is_what_asking_anew_gives(few):
    # the length is asked: where only a mean is known it shapes the lengths that are drawn
    found = subject(Question(**QUESTIONS["full"], max_length=1024))
    asked = asked_anew(found)
    held = held_question(found)
    by_key = {change["key"]: change for change in asked.changes}
    halved = int(by_key["micro_batch_down"]["flags"].split()[-1])
    for key, update in (
        ("micro_batch_down", {"micro_batch": halved}),
        ("fused_loss", {"stack": "liger"}),
        ("gpus_up", {"gpus": 2}),
    ):
        answer = estimate(held.model_copy(update=update))
        option, change = answer["options"][0], by_key[key]
        assert change["after"]["usd"] == pytest.approx(option["cost"]["usd"]["p50"], rel=1e-6)
        assert change["after"]["wall_hours"] == pytest.approx(
            option["run"]["wall_hours"]["p50"], rel=1e-6
        )
        used = option["memory"]["device_used_bytes"]["p50"]
        assert change["after"]["device_used_bytes"] == pytest.approx(used, rel=1e-9)
        assert change["saved"]["usd"] == asked.held["usd"] - change["after"]["usd"]
    # a loss that holds no logits is worth the logits of a micro-batch at least, in float32
    assert by_key["fused_loss"]["saved"]["bytes"] > 8 * 1024 * 128_256 * 4


def test_they_stand_by_what_they_save_and_what_does_not_apply_has_a_reason(few):
    document = explain(Question(**QUESTIONS["full"]))
    Explained.model_validate(document)
    fitting = [c for c in document["changes"] if c["after"]["fits"]]
    saved = [(c["refitted_saved"] or c["saved"])["usd"] for c in fitting]
    assert saved == sorted(saved, reverse=True) and len(saved) >= 5
    assert [c["after"]["fits"] for c in document["changes"]] == sorted(
        (c["after"]["fits"] for c in document["changes"]), reverse=True
    )
    assert all(one["why"] for one in document["left_out"])
    grouped = next(c for c in document["changes"] if c["key"] == "group_by_length")
    assert grouped["saved"]["hours"] > 0 and grouped["flags"] == "--group-by-length"
    keys = [one["key"] for one in (*document["changes"], *document["left_out"])]
    assert len(keys) == len(set(keys))


def test_what_is_so_already_is_left_out():
    question = Question(**QUESTIONS["full"], spot=True, micro_batch=1, group_by_length=True)
    why = {one.key: one.why_not for one in tries(subject(question))}
    assert why["spot"] == "it runs on spot already"
    assert why["micro_batch_down"] == "it is 1 already"
    assert "group_by_length" not in why and why["group_by_length_off"] == ""


def test_a_limit_that_a_change_breaks_is_said(few):
    document = explain(Question(**QUESTIONS["full"], max_hours=1.0))
    slow = next(c for c in document["changes"] if c["key"] == "gpu_cheapest")
    assert (slow["after"]["wall_hours"] > 1.0) == (slow["note"] is not None)


@pytest.mark.slow
def test_every_change_of_a_small_model():
    document = explain(Question(model="gpt2", samples=5000, tokens_per_sample=200, gpu="a100"))
    Explained.model_validate(document)
    by_key = {change["key"]: change for change in document["changes"]}
    lean = by_key.get("checkpointing_full")
    assert lean is None or lean["saved"]["hours"] <= 0  # recomputing never quickens a step
    for change in document["changes"]:
        assert change["saved"]["bytes"] == pytest.approx(
            document["held"]["device_used_bytes"] - change["after"]["device_used_bytes"]
        )


def test_flags_are_typed_as_the_command_line_takes_them():
    assert flags({"compile": True, "strategy": ["lora"], "gpus": 2}) == (
        "--compile --strategy lora --gpus 2"
    )
    assert flags({"compile": False}) == "--no-compile"


def test_what_trains_nothing_has_no_step():
    question = Question(**LLAMA, strategy=["prompting"], requests_per_month=100)
    with pytest.raises(QuestionError, match="trains nothing"):
        explain(question)


# ---- as a user runs it


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_no_line_is_wider_than_the_screen_and_no_figure_cut(width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    assert run(ASKED) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= width and "…" not in shown
    document = explain(Question(**LLAMA, strategy=["lora"]), changes=False)
    seconds = document["time"]["seconds"]
    assert f"A step takes {seconds_text(seconds)}:" in " ".join(shown.split())
    for row in time_rows(document):
        words = seconds_text(row.amount, seconds).rpartition(" ")[0]
        assert re.search(rf"(?<![0-9.]){re.escape(words)}(?![0-9.])", shown)


def test_json_is_the_document(capsys):
    assert run([*ASKED, "--json"]) == 0
    Explained.model_validate(json.loads(capsys.readouterr().out))


@pytest.mark.parametrize("suffix", ["md", "json", "csv", "html"])
def test_files_hold_the_documents_figures(tmp_path, suffix, capsys):
    if suffix == "html":
        pytest.importorskip("vl_convert")
    path = tmp_path / f"e.{suffix}"
    assert run([*ASKED, "-o", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["wrote"] == str(path)
    text = path.read_text(encoding="utf-8")
    document = explain(Question(**LLAMA, strategy=["lora"]), changes=False)
    if suffix == "json":
        assert json.loads(text)["time"]["seconds"] == document["time"]["seconds"]
    elif suffix == "csv":
        rows = list(csv.DictReader(io.StringIO(text)))
        tops = [r for r in rows if r["table"] == "memory" and r["name"] == "optimizer state"]
        node = next(n for n in document["memory"]["tree"] if n["name"] == "optimizer state")
        assert float(tops[0]["bytes"]) == node["bytes"]
    else:
        assert "Where the time of a step goes" in text


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["-o", "x.docx"], "no format of an explanation. End it in"),
        (["-o", "/nowhere/x.md"], "no such folder"),
        (["--gpu", "h1000"], "unknown GPU"),
    ],
)
def test_bad_input_is_one_line(arguments, said, capsys):
    asked = [word for word in ASKED if "--gpu" not in arguments or word not in ("--gpu", "h100")]
    assert run([*asked, *arguments]) == 2
    shown = capsys.readouterr().err
    assert said in shown and shown.strip().count("\n") == 0 and "Traceback" not in shown


HOSTILE = "<script>alert(1)</script>\x1b[31m=cmd|'/c calc'!A1 ](http://evil) @everyone"


@pytest.mark.parametrize("suffix", [".md", ".csv", ".json", ".html"])
def test_hostile_names_do_nothing(suffix):
    from planner.report.formats.parts.explained import render

    if suffix == ".html":
        pytest.importorskip("vl_convert")
    document = explain(Question(**LLAMA, strategy=["lora"]), changes=False)
    option, tree = document["option"], document["time"]["tree"]
    option["model"] = option["provider"] = option["gpu"] = HOSTILE
    tree[0]["name"] = tree[0]["path"] = "=" + HOSTILE
    document["left_out"].append({"key": "x", "text": HOSTILE, "why": HOSTILE})
    text = render(document, suffix)
    if suffix != ".json":
        assert "\x1b" not in text
    if suffix == ".md":
        assert not re.search(r"(?<!\\)\]\(|http://", text) and not re.search(
            r"(?<!\\)<script>", text
        )
        assert not re.search(r"(?<![A-Za-z0-9])@[A-Za-z]", text)
    if suffix == ".html":
        assert "<script>alert" not in text and "http://evil)</" not in text
    if suffix == ".csv":
        rows = list(csv.DictReader(io.StringIO(text)))
        assert not any(cell.startswith(("=", "+", "@")) for row in rows for cell in row.values())


def test_hostile_names_do_nothing_on_a_terminal(capsys):
    import sys

    from planner.report.formats.parts.screen import show_parts
    from planner.report.views.explaining.page import parts

    document = explain(Question(**LLAMA, strategy=["lora"]), changes=False)
    document["option"]["model"] = document["time"]["tree"][0]["name"] = HOSTILE + "[red]x[/red]"
    show_parts(parts(document), sys.stdout)
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and "[red]" in shown
