"""``-o FILE``: written as its suffix says, refused before the work; and readers that leave."""

import json
import os
import subprocess
import sys

import pytest

from planner.cli.main import run

COUNTS = ["--samples", "500", "--tokens-per-sample", "100", "--strategy", "lora", "--gpu", "l4"]
CALLS = {
    "answer": ["estimate", "gpt2", *COUNTS],
    "choice": ["choose", "gpt2", *COUNTS],
    "data": ["data", "profiles/examples/support_tickets.jsonl"],
}


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("suffix", [".md", ".json"])
def test_a_file_holds_what_its_suffix_says(kind, suffix, tmp_path, capsys):
    target = tmp_path / f"made{suffix}"
    assert run([*CALLS[kind], "-o", str(target)]) == 0
    assert capsys.readouterr().out == f"wrote {target}\n"
    text = target.read_text(encoding="utf-8")
    if suffix == ".json":
        assert run([*CALLS[kind], "--json"]) == 0
        assert json.loads(text) == json.loads(capsys.readouterr().out)
    else:
        assert text.startswith("#") and "| " in text and "\n- " in text


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("name, says", [("a.jsn", "Did you mean .json?"), ("a", ".md")])
def test_another_suffix_is_refused_before_the_work(kind, name, says, tmp_path, capsys):
    assert run([*CALLS[kind], "-o", str(tmp_path / name)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("planner: --output:") and says in error and error.count("\n") == 1
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("more", [[], ["--details"]])
def test_a_reader_that_leaves_is_no_broken_limit(more):
    call = [sys.executable, "-m", "planner.cli.main", *CALLS["answer"], *more]
    with subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()  # before anything is printed
        error = process.stderr.read()
        assert process.wait() == 128 + 13
    assert b"Traceback" not in error and b"Broken" not in error and b"limit" not in error


def test_a_narrow_pipe_is_honoured():
    for width in (60, 140):
        done = subprocess.run(
            [sys.executable, "-m", "planner.cli.main", *CALLS["answer"], "--details"],
            env={**os.environ, "COLUMNS": str(width)},
            capture_output=True,
            text=True,
        )
        longest = max(map(len, done.stdout.splitlines()))
        assert width - 12 <= longest <= width


@pytest.mark.parametrize("asked", ["gpus --json", "--help", "estimate --help"])
def test_a_reader_that_leaves_breaks_no_limit(asked):
    """However the text is printed: by click, by rich or as help."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "planner.cli.main", *asked.split()]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert done.returncode == 141 and done.stderr == ""


def test_a_place_that_is_not_there_is_refused_before_the_work(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "planner.budget.make", None)
    target = tmp_path / "nowhere" / "budget.md"
    for command in ("report", "estimate"):
        asked = [command, "gpt2", "--samples", "5", "--tokens-per-sample", "5", "-o", str(target)]
        assert run(asked) == 2
        assert "no such folder" in capsys.readouterr().err
