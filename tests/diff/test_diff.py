"""``planner diff``: sides by side, causes that sum to the difference, and a gate."""

import copy
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from planner.answer.estimate import estimate
from planner.cli.main import run
from planner.diff.causes import TABLES, fields_changed
from planner.diff.document import diff
from planner.diff.gate import broken, of_new
from planner.diff.git import at_revision
from planner.diff.schema import Diff
from planner.diff.side import Side, of_answer
from planner.errors import QuestionError
from planner.question import Question

BEFORE = {"model": "Llama-3.2-1B", "samples": 2000, "tokens_per_sample": 200, "gpu": "h100",
          "strategy": ["lora"]}  # fmt: skip
AFTER = {**BEFORE, "samples": 5000, "epochs": 2.0, "gpu": "a100-sxm-80"}
FIGURES = ("usd", "wall_hours", "gpu_hours", "device_used_bytes")


def side(label="x", **fields):
    return Side(label, Question(**fields))


def project(path, **fields):
    path.write_text(json.dumps(fields), encoding="utf-8")  # JSON is YAML
    return path


@pytest.fixture(scope="module")
def document():
    return diff(side("a", **BEFORE), side("b", **AFTER))


def test_either_side_is_what_estimate_answers(document):
    Diff.model_validate(document)
    for key, fields in (("a", BEFORE), ("b", AFTER)):
        option = estimate(Question(**fields))["options"][0]
        shown = document["recommended"][key]
        assert shown["usd"] == option["cost"]["usd"]["p50"]
        assert shown["wall_hours"] == option["run"]["wall_hours"]["p50"]
        assert shown["device_used_bytes"] == option["memory"]["device_used_bytes"]["p50"]


def test_causes_are_the_fields_in_order_and_sum_to_the_difference(document):
    assert [cause["what"] for cause in document["causes"]] == ["samples", "gpu", "epochs"]
    for name in FIGURES:
        total = sum(cause["delta"][name] for cause in document["causes"])
        assert total == pytest.approx(document["recommended"]["change"][name], abs=1e-9)
    more = next(c for c in document["causes"] if c["what"] == "samples")
    one = estimate(Question(**BEFORE))["options"][0]["cost"]["usd"]["p50"]
    two = estimate(Question(**{**BEFORE, "samples": 5000}))["options"][0]["cost"]["usd"]["p50"]
    assert more["delta"]["usd"] == pytest.approx(two - one)


def test_fields_that_only_go_together_change_together():
    """On one's own hardware: none of the four is a question without the others."""
    own = {"owned_usd": 30_000.0, "owned_years": 3.0, "owned_utilisation": 0.5,
           "usd_per_kwh": 0.2}  # fmt: skip
    found = diff(side(**BEFORE), side(**BEFORE, **own))
    (cause,) = found["causes"]
    assert {one["field"] for one in cause["fields"]} == set(own)


def test_nothing_changed_is_said(capsys, tmp_path):
    one = project(tmp_path / "a.yaml", **BEFORE)
    two = project(tmp_path / "b.yaml", **BEFORE)
    assert run(["diff", str(one), str(two), "--max-increase-percent", "0"]) == 0
    assert "Nothing changed that the answer depends on" in capsys.readouterr().out


def test_an_old_answer_differs_by_its_prices_too():
    old = estimate(Question(**BEFORE))
    dearer = copy.deepcopy(old)
    for figure in ("p10", "p50", "p90"):
        dearer["options"][0]["cost"]["usd"][figure] *= 2
    found = diff(of_answer(dearer, "old.json"), side("b", **{**BEFORE, "samples": 5000}))
    Diff.model_validate(found)
    assert [cause["what"] for cause in found["causes"]] == [TABLES, "samples"]
    usd = old["options"][0]["cost"]["usd"]["p50"]
    assert found["causes"][0]["delta"]["usd"] == pytest.approx(-usd)
    total = sum(cause["delta"]["usd"] for cause in found["causes"])
    assert total == pytest.approx(found["recommended"]["change"]["usd"])
    assert [one["field"] for one in found["question"]] == ["samples"]


def test_two_answers_end_with_what_their_questions_do_not_explain():
    one, two = estimate(Question(**BEFORE)), estimate(Question(**AFTER))
    two = copy.deepcopy(two)
    two["options"][0]["run"]["wall_hours"]["p50"] += 0.01
    found = diff(of_answer(one, "a.json"), of_answer(two, "b.json"))
    assert [cause["what"] for cause in found["causes"]][-1] == TABLES
    assert found["causes"][-1]["delta"]["wall_hours"] == pytest.approx(0.01)


def test_an_answer_to_data_that_is_gone_is_compared_without_causes():
    old = estimate(Question(**BEFORE))
    old["question"] = {**old["question"], "data": "/nowhere/x.jsonl", "samples": None,
                       "tokens_per_sample": None}  # fmt: skip
    found = diff(of_answer(old, "old.json"), side(**AFTER))
    assert found["causes"] == [] and "is not here" in found["no_causes"]
    assert found["recommended"]["change"]["usd"] is not None


def test_what_cannot_be_recommended_is_no_figure():
    found = diff(side(**BEFORE), side(**BEFORE, max_usd=1e-6))
    assert found["recommended"]["b"] is None
    assert found["recommended"]["change"] == dict.fromkeys(FIGURES)
    assert [one["field"] for one in found["question"]] == ["max_usd"]


# ---- the gate


@pytest.mark.parametrize(
    "one, two, usd, percent, count",
    [
        (1.0, 1.5, None, None, 0),
        (1.0, 1.5, 0.5, 50, 0),
        (1.0, 1.51, 0.5, 50, 2),
        (1.0, 1.51, 0.6, 50, 1),
        (2.0, 1.0, 0, 0, 0),
        (0.0, 0.01, None, 1000, 1),
        (None, 1.0, 5, None, 1),
        (1.0, None, 5, 5, 1),
    ],
)
def test_limits(one, two, usd, percent, count):
    found = broken({"usd": one}, {"usd": two}, max_increase_usd=usd, max_increase_percent=percent)
    assert len(found) == count


def test_what_is_not_recommended_any_more_breaks_a_limit():
    assert broken({"usd": 1.0}, None, max_increase_usd=1, max_increase_percent=None)
    assert not of_new({"usd": 3.0}, max_increase_usd=None, max_increase_percent=5)
    assert of_new({"usd": 3.0}, max_increase_usd=2, max_increase_percent=None)


def test_a_broken_limit_is_exit_code_one_with_its_reason(tmp_path, capsys):
    one = project(tmp_path / "a.yaml", **BEFORE)
    two = project(tmp_path / "b.yaml", **{**BEFORE, "samples": 200_000})
    asked = ["diff", str(one), str(two), "-q"]
    assert run([*asked, "--max-increase-percent", "10"]) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("planner: ") and "10 % more are allowed" in shown.err
    assert "Limit broken" in shown.out and shown.err.count("\n") == 1
    assert run([*asked, "--max-increase-usd", "1000"]) == 0


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["x.yaml"], "a difference needs two sides"),
        (["x.yaml", "y.yaml", "z.yaml"], "here are 3"),
        (["x.yaml", "y.yaml"], "no such project file"),
        (["x.txt", "y.yaml"], "neither a project.yaml nor an answer"),
        (["x.json", "y.yaml"], "no such answer file"),
        (["x.json", "--at", "a", "b"], "only a project.yaml"),
        (["x.yaml", "y.yaml", "-o", "d.pdf"], "no format of a difference"),
        (["x.yaml", "y.yaml", "--max-increase-usd", "nan"], "must be a number of at least 0"),
        (["x.yaml", "y.yaml", "--max-increase-percent", "-1"], "must be a number of at least 0"),
    ],
)
def test_bad_input_is_one_line(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["diff", *arguments]) == 2
    shown = capsys.readouterr().err
    assert said in shown and shown.strip().count("\n") == 0 and "Traceback" not in shown


# ---- outputs


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_no_line_is_wider_than_the_screen(width, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("COLUMNS", str(width))
    one = project(tmp_path / "a.yaml", **BEFORE)
    two = project(tmp_path / "b.yaml", **AFTER)
    monkeypatch.chdir(tmp_path)
    assert run(["diff", one.name, two.name]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= width
    assert {"samples:", "2,000", "5,000", "epochs:"} <= set(shown.split()) and "…" not in shown


def test_markdown_and_json_hold_the_figures(document, tmp_path, capsys):
    from planner.report.words import usd_text

    one = project(tmp_path / "a.yaml", **BEFORE)
    two = project(tmp_path / "b.yaml", **AFTER)
    for suffix in ("md", "json"):
        path = tmp_path / f"d.{suffix}"
        assert run(["diff", str(one), str(two), "-o", str(path)]) == 0
        text = path.read_text(encoding="utf-8")
        if suffix == "json":
            found = json.loads(text)
            Diff.model_validate(found)
            assert found["recommended"] == document["recommended"]
        else:
            usd = usd_text(document["recommended"]["b"]["usd"])
            assert usd in text.replace("\\", "") and "| samples: 2,000 → 5,000 |" in text


HOSTILE = "<img src=x onerror=alert(1)>\x1b[31m|](http://evil) @everyone"


def test_hostile_names_do_nothing(document, capsys):
    import sys

    from planner.report.formats.parts.markdown import markdown_of
    from planner.report.formats.parts.screen import show_parts
    from planner.report.views.differing.page import parts

    found = copy.deepcopy(document)
    found["a"]["label"] = found["recommended"]["b"]["gpu"] = HOSTILE
    found["causes"][0]["fields"][0]["after"] = found["question"][0]["b"] = HOSTILE
    found["notes"], found["gate"]["broken"] = [HOSTILE], [HOSTILE]
    text = markdown_of("x", parts(found))
    assert not re.search(r"(?<!\\)<img|http://|(?<![A-Za-z0-9])@[A-Za-z]|\x1b", text)
    show_parts(parts(found), sys.stdout)
    assert "\x1b" not in capsys.readouterr().out


# ---- git


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Two commits of a project with its data in a sub-folder, and a hook and a filter that would
    leave a mark if anything of the repository ran."""
    root, mark = tmp_path / "repo", tmp_path / "ran"
    (root / "sub").mkdir(parents=True)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)

    def git(*arguments):
        subprocess.run(
            ["git", "-c", "user.email=a@b.c", "-c", "user.name=n", *arguments],
            cwd=root, check=True, capture_output=True,
        )  # fmt: skip

    def write(lines, epochs):
        data = root / "sub" / "train.jsonl"
        data.write_text(
            "".join(json.dumps({"text": f"{n} words " * 30}) + "\n" for n in range(lines))
        )
        text = (
            f"model: Llama-3.2-1B\ndata: train.jsonl\ngpu: h100\nstrategy: lora\nepochs: {epochs}\n"
        )
        (root / "sub" / "project.yaml").write_text(text)

    git("init", "-q", "-b", "main")
    write(40, 1)
    git("add", "-A")
    git("commit", "-q", "-m", "one")
    write(80, 2)
    git("add", "-A")
    git("commit", "-q", "-m", "two")
    for name in ("post-checkout", "pre-commit", "post-index-change", "fsmonitor"):
        hook = root / ".git" / "hooks" / name
        hook.write_text(f"#!/bin/sh\ntouch {mark}\n")
        hook.chmod(0o755)
    (root / ".gitattributes").write_text("* filter=evil diff=evil\n")
    git("config", "filter.evil.smudge", f"touch {mark}")
    git("config", "filter.evil.clean", f"touch {mark}; cat")
    git("config", "diff.evil.textconv", f"touch {mark}; cat")
    git("config", "core.fsmonitor", str(root / ".git" / "hooks" / "fsmonitor"))
    git("config", "core.pager", f"touch {mark}")
    mark.unlink(missing_ok=True)
    monkeypatch.chdir(root)
    return root, mark, git


def test_a_project_at_two_revisions(repository, capsys):
    root, mark, _ = repository
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert run(["diff", "sub/project.yaml", "--at", "HEAD~1", "HEAD", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    Diff.model_validate(found)
    assert [one["field"] for one in found["question"]] == ["data", "epochs"]
    assert found["a"]["samples"] == 40 and found["b"]["samples"] == 80
    assert [cause["what"] for cause in found["causes"]] == ["data", "epochs"]
    assert not mark.exists(), "something of the repository ran"
    assert before == {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_what_is_staged_against_the_last_commit(repository, capsys):
    root, mark, git = repository
    path = root / "sub" / "project.yaml"
    path.write_text(path.read_text() + "max_length: 64\n")
    git("-c", "core.fsmonitor=false", "add", "sub/project.yaml")
    path.write_text("this is not staged")
    mark.unlink(missing_ok=True)
    assert run(["diff", "sub/project.yaml", "--at", "HEAD", ":0", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["field"] for one in found["question"]] == ["max_length"]
    assert not mark.exists()


def test_data_that_no_revision_holds_is_the_working_trees(repository, capsys):
    root, _, git = repository
    git("-c", "core.fsmonitor=false", "rm", "-q", "--cached", "sub/train.jsonl")
    git("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "commit", "-q", "-m", "3")
    assert run(["diff", "sub/project.yaml", "--at", "HEAD", "HEAD", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert any("the working tree's is taken" in note for note in found["notes"])
    assert found["b"]["samples"] == 80


def test_a_new_project_has_nothing_before_it(repository, capsys):
    root, _, git = repository
    (root / "sub" / "other.yaml").write_text((root / "sub" / "project.yaml").read_text())
    git("-c", "core.fsmonitor=false", "add", "sub/other.yaml")
    asked = ["diff", "sub/other.yaml", "sub/project.yaml", "--at", "HEAD", ":0"]
    assert run([*asked, "--max-increase-percent", "1"]) == 0
    assert "New: other.yaml at the index" in capsys.readouterr().out
    assert run([*asked, "--max-increase-usd", "0", "--json"]) == 1
    shown = capsys.readouterr()
    both = json.loads(shown.out)["differences"]
    assert both[0]["a"] is None and both[1]["a"] is not None and "other.yaml" in shown.err


@pytest.mark.parametrize(
    "revision, said",
    [
        ("nope", "no such revision"),
        ("--output=/tmp/x", "no such revision"),
        ("", "no such revision"),
        ("HEAD:sub", "no such revision"),
    ],
)
def test_revisions_that_are_none(repository, revision, said, tmp_path):
    target = tmp_path / "t"
    target.mkdir()
    with pytest.raises(QuestionError, match=said):
        at_revision(Path("sub/project.yaml"), revision, target)


def test_outside_of_a_repository(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    path = project(tmp_path / "project.yaml", **BEFORE)
    with pytest.raises(QuestionError, match="not a git repository"):
        at_revision(path, "HEAD", tmp_path)


def test_a_path_never_leads_out_of_the_copy(repository, tmp_path):
    root, _, git = repository
    (root / "secret.jsonl").write_text('{"text": "secret"}\n' * 5)
    (root / "sub" / "link.jsonl").symlink_to("/etc/passwd")
    path = root / "sub" / "project.yaml"
    for data in ("../secret.jsonl", "link.jsonl", "/etc/passwd"):
        path.write_text(f"model: gpt2\ndata: {data}\n")
        git("-c", "core.fsmonitor=false", "add", "-A")
        target = tmp_path / data.replace("/", "_")
        target.mkdir()
        at_revision(Path("sub/project.yaml"), ":0", target)
        assert not [
            p for p in target.rglob("*") if p.suffix == ".jsonl" and "secret" in p.read_text()
        ]
        # what the revision holds as a link is not written as one that git chose
        assert not [p for p in target.rglob("*") if p.is_symlink() and data != "link.jsonl"]


def test_copies_of_one_file_are_the_same_data(tmp_path):
    one, two = tmp_path / "a" / "d.jsonl", tmp_path / "b" / "d.jsonl"
    for path in (one, two):
        path.parent.mkdir()
        path.write_text('{"text": "x"}\n')
    first, second = (Question(model="gpt2", data=str(path)) for path in (one, two))
    assert fields_changed(first, second) == []
    os.truncate(two, 0)
    assert [name for name, *_ in fields_changed(first, second)] == ["data"]
