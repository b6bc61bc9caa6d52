"""The plan beside the run in Weights & Biases and MLflow, by fakes with the surface that is used:
wandb 0.28 (``wandb.run``, ``Artifact(name, type, …).new_file``, ``Run.summary``, ``.config``,
``.log_artifact``), MLflow 3 (``active_run``, ``MlflowClient.log_metric``, ``.set_tag``,
``.log_dict``)."""

import contextlib
import importlib.machinery
import io
import json
import re
import sys
import types

import pytest

import planner
from planner import PlannerError, estimate, log_to_mlflow, log_to_wandb
from planner.ledger.record import RunRecord
from planner.recording.recorder import Recording


class Summary(dict):
    def update(self, d):
        assert all(type(value) is float for value in d.values())
        super().update(d)


class Config(dict):
    def update(self, d, allow_val_change=None):
        for key, value in d.items():
            if self.get(key, value) != value and not allow_val_change:
                raise ValueError(f"config value {key} may not change")
        super().update(d)


class Artifact:
    def __init__(self, name, type, description=None, metadata=None):
        assert re.fullmatch(r"[\w.\-]+", name) and re.fullmatch(r"[\w.\-]+", type)
        self.name, self.type, self.files = name, type, {}

    @contextlib.contextmanager
    def new_file(self, name, mode="x", encoding=None, policy="mutable"):
        assert mode in ("x", "w") and name not in self.files
        file = io.StringIO()
        yield file
        self.files[name] = file.getvalue()


class WandbRun:
    def __init__(self):
        self.id, self.summary, self.config, self.artifacts = "3xk9", Summary(), Config(), []

    def log_artifact(self, artifact_or_path, name=None, type=None, aliases=None, tags=None):
        self.artifacts.append(artifact_or_path)
        return artifact_or_path


class MlflowClient:
    logged: dict = {}

    def log_metric(self, run_id, key, value, timestamp=None, step=None, synchronous=None):
        assert re.fullmatch(r"[/\w.\- ]*", key) and isinstance(value, float)
        self._of(run_id, "metrics")[key] = value

    def set_tag(self, run_id, key, value, synchronous=None):
        assert re.fullmatch(r"[/\w.\- ]*", key) and len(str(value)) <= 5000
        self._of(run_id, "tags")[key] = str(value)

    def log_dict(self, run_id, dictionary, artifact_file):
        self._of(run_id, "files")[artifact_file] = json.loads(json.dumps(dictionary))

    def _of(self, run_id, part):
        return self.logged.setdefault(run_id, {}).setdefault(part, {})


def installed(monkeypatch, name, **surface):
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    for key, value in surface.items():
        setattr(module, key, value)
    monkeypatch.setitem(sys.modules, name, module)
    return module


@pytest.fixture
def wandb(monkeypatch):
    return installed(monkeypatch, "wandb", run=WandbRun(), Artifact=Artifact)


@pytest.fixture
def mlflow(monkeypatch):
    monkeypatch.setattr(MlflowClient, "logged", {})
    run = types.SimpleNamespace(info=types.SimpleNamespace(run_id="a1"))
    return installed(monkeypatch, "mlflow", active_run=lambda: run, MlflowClient=MlflowClient)


@pytest.fixture(scope="module")
def answer():
    return estimate(
        "gpt2", samples=1000, tokens_per_sample=300, gpu="l4", strategy=["lora", "fine_tune"]
    )


@pytest.fixture
def record():
    return RunRecord.new(
        "recorded",
        "planner.record",
        {"strategy": "lora", "gpu": "NVIDIA L4"},
        {"wall_seconds": 7200.0, "step_seconds": 0.5, "device_used_bytes": 8 * 2**30},
        estimate={
            "basis": "datasheet",
            "step_seconds": {"p10": 0.3, "p50": 0.4, "p90": 0.6},
            "wall_hours": {"p10": 1.0, "p50": 2.5, "p90": 4.0},
            "device_used_bytes": {"p10": 7 * 2**30, "p50": 8 * 2**30, "p90": 9 * 2**30},
        },
    )


def test_a_plan_stands_in_the_summary_of_a_wandb_run(wandb, answer):
    log_to_wandb(answer)
    summary, best = wandb.run.summary, answer.best
    assert summary["plan/hours_p50"] == best.hours.p50
    assert summary["plan/usd_p90"] == best.usd.p90
    assert summary["plan/memory_gib_p50"] == best.memory_gib.p50
    assert wandb.run.config["plan/strategy"] == best.strategy
    assert wandb.run.config["plan/fits"] == "True"
    (artifact,) = wandb.run.artifacts
    assert artifact.type == "planner-plan" and json.loads(artifact.files["plan.json"]) == answer


def test_another_strategy_and_run_may_be_named_and_logged_again(wandb, answer):
    run = WandbRun()
    log_to_wandb(answer, run, strategy="lora")
    log_to_wandb(answer, run, strategy="fine_tune")
    assert run.config["plan/strategy"] == "fine_tune" and not wandb.run.summary
    assert run.summary["plan/hours_p50"] == answer.option("fine_tune").hours.p50


def test_a_plan_stands_in_an_mlflow_run(mlflow, answer):
    log_to_mlflow(answer)
    logged = MlflowClient.logged["a1"]
    assert logged["metrics"]["plan/usd_p50"] == answer.best.usd.p50
    assert logged["tags"]["plan/gpu"] == "NVIDIA L4"
    assert logged["files"] == {"planner/plan.json": answer}
    log_to_mlflow(answer, run_id="b2")
    assert set(MlflowClient.logged) == {"a1", "b2"}


def test_a_run_stands_beside_its_plan(wandb, mlflow, record):
    log_to_wandb(record)
    log_to_mlflow(record)
    summary = wandb.run.summary
    assert summary["run/hours"] == 2.0 and summary["plan/hours_p50"] == 2.5
    assert "plan_error/hours" not in summary  # the plan's begin with the machine's start
    assert summary["plan_error/step_seconds"] == pytest.approx(-0.2)
    assert summary["plan_error/memory_gib"] == 0.0
    assert wandb.run.config["run/strategy"] == "lora"
    assert MlflowClient.logged["a1"]["metrics"] == dict(summary)
    assert MlflowClient.logged["a1"]["files"]["planner/run.json"] == record.as_dict()


def test_what_was_not_estimated_is_left_out(wandb):
    log_to_wandb(RunRecord.new("recorded", "x", {}, {"wall_seconds": 3600.0}))
    assert wandb.run.summary == {"run/hours": 1.0}


def test_without_a_run_or_the_library_it_is_one_line(wandb, mlflow, answer, monkeypatch):
    wandb.run, mlflow.active_run = None, lambda: None
    with pytest.raises(PlannerError, match=r"no Weights & Biases run is open. Call wandb.init"):
        log_to_wandb(answer)
    with pytest.raises(PlannerError, match=r"no MLflow run is active. Call mlflow.start_run"):
        log_to_mlflow(answer)
    for name, call in (("wandb", log_to_wandb), ("mlflow", log_to_mlflow)):
        monkeypatch.delitem(sys.modules, name)
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(PlannerError, match=f"needs {name}. Install it with: pip install"):
            call(answer)


def test_a_recording_hands_its_record_on(tmp_path, wandb):
    run = Recording(None, tmp_path / "runs.sqlite", then=log_to_wandb)
    with run:
        for _ in range(12):
            run.step(samples=4)
    hours = run.record.measurement["wall_seconds"] / 3600
    assert wandb.run.summary["run/hours"] == pytest.approx(hours)


def test_a_tracker_that_fails_costs_the_run_one_warning(tmp_path, wandb, caplog):
    wandb.run = None
    with planner.record(ledger=tmp_path / "runs.sqlite", then=log_to_wandb) as run:
        run.step(samples=4)
    assert run.record is not None
    assert "no Weights & Biases run is open" in caplog.text
