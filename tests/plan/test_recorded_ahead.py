"""Strategies of a model that nobody has traced, recorded by two processes: the same answer."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time

import pytest

from planner import Question, estimate
from planner.plan.inputs.hardware import find_hardware
from planner.plan.inputs.problem import understand
from planner.plan.survey import ahead
from planner.plan.survey.survey import survey
from planner.trace.source import TraceSource

pytestmark = pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="extra hf")
#: How long the other process may take to start: it fails a test that would wait for ever.
PATIENCE_SECONDS = 120
CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "hidden_size": 64,
    "intermediate_size": 96,
    "vocab_size": 500,
    "max_position_embeddings": 256,
}
ASKED = {
    "samples": 100,
    "tokens_per_sample": 64,
    "gpu": "a100-sxm-80",
    "strategy": ["partial_fine_tune", "fine_tune", "scratch"],
    "offline": True,
}


@pytest.fixture
def model(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    monkeypatch.setenv("PLANNER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ahead, "_cores", lambda: 2)
    return str(folder)


@pytest.fixture
def recorded_here(monkeypatch):
    """Strategies of the traces that this process records."""
    found = []
    record = TraceSource._record

    def noted(self, regime, length):
        found.append(self.recipe.strategy)
        return record(self, regime, length)

    monkeypatch.setattr(TraceSource, "_record", noted)
    return found


def plain(answer: dict) -> str:
    return json.dumps(answer, default=str, sort_keys=True)


def test_two_processes_answer_as_one(model, tmp_path, monkeypatch, recorded_here):
    alone = estimate(model, **ASKED)
    assert set(recorded_here) == {"partial_fine_tune", "fine_tune"}
    recorded_here.clear()
    monkeypatch.setenv("PLANNER_CACHE", str(tmp_path / "another cache"))
    monkeypatch.setenv(ahead.PROCESSES, "2")
    # slow enough for the other process to start and to take its share
    take = ahead._taken_here

    def late(found, strategy, folder):
        taken = take(found, strategy, folder)
        until = time.monotonic() + PATIENCE_SECONDS
        while strategy == "partial_fine_tune" and not list(folder.glob("fine_tune*")):
            assert time.monotonic() < until, "the other process took nothing"
            time.sleep(0.01)
        return taken

    monkeypatch.setattr(ahead, "_taken_here", late)
    together = estimate(model, **ASKED)
    assert recorded_here == ["partial_fine_tune"]
    assert plain(together) == plain(alone)


def test_a_process_that_fails_is_done_without(model, monkeypatch, recorded_here):
    monkeypatch.setenv(ahead.PROCESSES, "2")
    start = subprocess.Popen
    monkeypatch.setattr(
        ahead.subprocess,
        "Popen",
        lambda _words, **named: start([sys.executable, "-c", "raise SystemExit(3)"], **named),
    )
    answer = estimate(model, **ASKED)
    assert {option["strategy"] for option in answer["options"]} == set(ASKED["strategy"])
    assert set(recorded_here) == {"partial_fine_tune", "fine_tune"}


def asked(model: str, **fields):
    question = Question(model=model, **{**ASKED, **fields})
    problem = understand(question)
    return survey(problem, find_hardware(question), counts=(1,))


def test_what_is_taken_is_not_taken_twice(model, tmp_path):
    found = asked(model)
    assert list(ahead._wanted(found)) == ["partial_fine_tune", "fine_tune"]  # scratch's is its own
    (tmp_path / "fine_tune").touch()
    assert not ahead._taken_here(found, "fine_tune", tmp_path)
    assert ahead._taken_here(found, "partial_fine_tune", tmp_path)
    assert ahead._done(tmp_path, "partial_fine_tune").exists()
    assert list(ahead._wanted(asked(model))) == ["fine_tune"]


def test_nothing_is_shared_that_is_costly_to_read_again_or_foreign(model, tmp_path, monkeypatch):
    monkeypatch.setenv(ahead.PROCESSES, "2")
    found = asked(model)
    assert ahead._may_share(found.problem)
    data = tmp_path / "large.jsonl"
    data.write_text('{"text": "' + "word " * ahead.SMALL_DATA + '"}\n')
    question = found.problem.question.model_copy(update={"data": str(data)})
    assert not ahead._may_share(found.problem.changed(question))
    monkeypatch.setattr(ahead, "_cores", lambda: 1)
    assert not ahead._may_share(found.problem)
