"""``planner choose`` from the command line: what it prints, its exit codes, one line for a wrong
question."""

import json
import re

import pytest

from planner.cli.main import run

ASKED = ["choose", "gpt2", "--samples", "5000", "--tokens-per-sample", "200", "--strategy", "lora"]


def test_it_names_what_to_rent_and_why(capsys):
    assert run([*ASKED, "--details"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for part in (
        "Recommended",
        "lora on",
        "In which order to go",
        "When to go on and when to stop",
        "What the data at hand supports",
        "Ask yourself",
        "Price age",
    ):
        assert part in shown
    assert re.search(r"a GPU-hour of [0-9-]+, [0-9]+ d!? old", shown)


def test_the_first_screen_holds_what_a_decision_needs(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run([*ASKED, "--max-usd", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    shown = " ".join(" ".join(lines).split())
    assert len(lines) <= 40 and max(map(len, lines)) <= 80
    for part in ("gpt2", "5,000 samples", "Recommended: lora on", "--max-usd", "In which order"):
        assert part in shown, part
    assert "Price age" not in shown and "--details:" in shown


def test_brief_is_brief(capsys):
    assert run([*ASKED, "--quiet"]) == 0
    shown = capsys.readouterr().out
    assert "Recommended" in shown and "In which order" not in shown


def test_everywhere_lists_each_gpu_at_each_provider(capsys):
    assert run([*ASKED, "--everywhere", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    cells = [(way["gpu_key"], way["provider"]) for way in document["ways"]]
    assert len(set(cells)) == len(cells) > 60 and all(
        way["price_age_days"] >= 0 for way in document["ways"]
    )
    assert [way["usd"]["p50"] for way in document["ways"]] == sorted(
        way["usd"]["p50"] for way in document["ways"]
    )
    assert document["ways"][0]["usd"] == document["recommended"]["usd"]


def test_a_broken_limit_is_exit_code_one_and_said(capsys):
    assert run([*ASKED, "--max-usd", "0.0001"]) == 1
    shown = capsys.readouterr()
    assert (
        shown.err.startswith("planner: lora: the cheapest way costs $")
        and "Traceback" not in shown.err
    )


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--provider", "lamda"], "lambda"),
        (["--gpus", "0"], "--gpus"),
        (["--exact"], "--exact"),
        (["--gpu", "cpu"], "--price"),
        (["--licences", "mit", "--max-usd", "x"], "--max-usd"),
    ],
)
def test_a_wrong_question_is_one_line(capsys, flags, said):
    assert run([*ASKED, *flags]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and said in error


def test_project_files_are_read(tmp_path, capsys):
    file = tmp_path / "project.yaml"
    file.write_text(
        "model: gpt2\nsamples: 5000\ntokens_per_sample: 200\nstrategy: lora\nlicences: "
        "[mit]\ngpus: 2\n"
    )
    assert run(["choose", str(file), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["surveyed"]["gpu_counts"] == [2] and document["recommended"]["gpus"] == 2
