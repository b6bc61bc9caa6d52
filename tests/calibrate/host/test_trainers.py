"""Timing trainers' own loops: what is measured, and what is said where a trainer is missing."""

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from planner.calibrate.host import trainers  # noqa: E402
from planner.errors import MissingExtraError  # noqa: E402

CPU = torch.device("cpu")


def backend():
    return SimpleNamespace(device="cpu", kind="cpu")


@pytest.mark.parametrize("model", list(trainers.SMALL_MODELS))
@pytest.mark.parametrize("accumulated", [1, 4])
def test_the_bare_step_and_a_plain_loop_take_time(model, accumulated):
    for loop in (trainers.bare, trainers.plain):
        assert loop(trainers.SMALL_MODELS[model](), CPU, 4, accumulated) > 0


def test_seconds_are_told_apart_by_runs_with_and_without_accumulation(monkeypatch):
    """A trainer that takes 2 ms a micro-batch and 8 ms an update beyond the bare step's."""

    def fake(small, device, steps, accumulated):
        return 0.005 + 0.002 + 0.008 / accumulated

    monkeypatch.setattr(trainers, "TRAINERS", {"trainer": fake})
    monkeypatch.setattr(trainers, "bare", lambda *_: 0.005)
    found = trainers.added_seconds("trainer", steps=4)
    assert found.micro_batch == pytest.approx(0.002)
    assert found.update == pytest.approx(0.008)


def test_a_missing_trainer_is_said_and_ends_nothing(monkeypatch):
    def missing(*_):
        raise MissingExtraError("transformers", "hf", "timing a real Trainer step")

    monkeypatch.setattr(trainers, "TRAINERS", {"trainer": missing})
    (record,) = trainers.measured_trainer(backend(), budget_seconds=20.0)
    assert record["record"] == "trust"
    assert "no step of Hugging Face's Trainer was timed" in record["what"]
    assert "hf" in record["what"]


def test_records_are_host_costs_by_the_trainers_name(monkeypatch):
    monkeypatch.setattr(trainers, "added_seconds", lambda *_, **__: trainers.Added(1e-3, 2e-3))
    found = list(trainers.measured_trainer(backend(), budget_seconds=20.0))
    assert [(r["record"], r["name"], r["value"], r["unit"]) for r in found] == [
        ("host", "trainer.micro_batch_seconds", 1e-3, "s"),
        ("host", "trainer.update_seconds", 2e-3, "s"),
    ]
    assert list(trainers.measured_trainer(backend(), budget_seconds=1.0)) == []
