"""The loop's own parts: its records are questions that can be asked again, and it leaves the user's
folders alone."""

import os
from types import SimpleNamespace

from benchmarks import loop
from planner.figures import Estimate
from planner.measure.real_run import MeasuredRun
from planner.validate.cases import Case
from planner.validate.gathering import from_ledger

SAID = SimpleNamespace(
    basis="calibrated",
    fits=True,
    **{
        name: Estimate(1.0, 2.0, 3.0)
        for name in ("step_seconds", "forward_seconds", "allocated_bytes", "reserved_bytes")
    },
)


def seen(step_seconds):
    return MeasuredRun(
        "cpu",
        "some processor",
        {"torch": "2"},
        9,
        step_seconds=step_seconds,
        step_p10_seconds=0.9 * step_seconds,
        step_p90_seconds=1.1 * step_seconds,
        forward_seconds=step_seconds / 3,
    )


def test_every_run_of_the_loop_can_be_asked_again():
    runs = [c for c in (*loop.PROCESSOR_RUNS, *loop.NEW) if c.id in loop.TAUGHT or c in loop.NEW]
    assert len(runs) == len(loop.TAUGHT) + len(loop.NEW) >= 20
    for run in runs:
        (again,) = from_ledger([loop.as_record(run, SAID, seen(0.5))])
        assert isinstance(again, Case), again
        for name in (
            "model",
            "architecture",
            "task",
            "strategy",
            "micro_batch",
            "sequence_length",
            "image_size",
            "precision",
            "optimizer",
            "lora_rank",
            "lora_dropout",
            "classes",
        ):
            assert getattr(again, name) == getattr(run, name), (run.id, name)
        assert (again.step_seconds, again.gpu) == (0.5, "some processor")


def test_no_model_is_on_both_sides():
    taught = {repr((c.model, c.architecture)) for c in loop.PROCESSOR_RUNS if c.id in loop.TAUGHT}
    assert not taught & {repr((c.model, c.architecture)) for c in loop.NEW}


def test_visits_that_disagree_are_said():
    assert loop.disagreement([seen(1.0), seen(1.1)]) == ()
    assert loop.disagreement([seen(1.0), seen(2.0)]) == (
        "two visits differ by 100%; the faster one stands here",
    )


def test_the_users_folders_are_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("PLANNER_DEVICES", "mine")
    monkeypatch.delenv("PLANNER_LEDGER", raising=False)
    with loop.own_place(tmp_path / "own"):
        assert os.environ["PLANNER_DEVICES"].startswith(str(tmp_path)) and os.environ[
            "PLANNER_LEDGER"
        ].startswith(str(tmp_path))
    assert os.environ["PLANNER_DEVICES"] == "mine" and "PLANNER_LEDGER" not in os.environ
