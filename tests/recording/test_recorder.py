"""Recording a hand-written loop: what is measured, what is said of how it ended, and that it never
stands in the way."""

import logging
import subprocess
import sys

import pytest

from planner.errors import QuestionError
from planner.ledger.store import Ledger
from planner.recording.recorder import Recording


class Clock:
    """A clock that only the test moves."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make(tmp_path, clock):
    def made(question=None, **more):
        return Recording(
            question, tmp_path / "runs.sqlite", clock=clock, with_estimate=False, **more
        )

    return made


def written(run):
    """The record as the ledger holds it, not as the recording remembers it."""
    with Ledger(run.ledger) as ledger:
        return list(ledger.records())


def loop(run, clock, steps=10, data=1.0, forward=2.0, backward=3.0, optimizer=4.0):
    for number in range(steps):
        clock.now += data
        run.data()
        clock.now += forward
        run.forward()
        clock.now += backward
        run.backward()
        clock.now += optimizer * (5 if number == 0 else 1)  # the first makes the state
        run.step(samples=8, tokens=800, loss=10.0 - number)


def test_phases_rates_and_warming_up_are_told_apart(make, clock):
    with make(
        {"model": "gpt2", "strategy": "lora", "micro_batch": 4}, known={"accumulation": 2}
    ) as run:
        loop(run, clock)
    (record,) = written(run)
    found = record.measurement
    assert (
        record.kind == "recorded"
        and record.setup["model"] == "gpt2"
        and record.setup["accumulation"] == 2
        and record.setup["micro_batch"] == 4
    )
    assert (
        found["step_seconds"]
        == found["step_seconds_p10"]
        == found["step_seconds_mean"]
        == pytest.approx(9.0)
    )
    assert found["warm_up_steps"] == 2 and found["warm_up_seconds"] == pytest.approx(25 + 9)
    assert found["data_seconds"] == pytest.approx(1.0) and found["wall_seconds"] == pytest.approx(
        10 * 10 + 16
    )
    assert found["phase_seconds"] == pytest.approx(
        {"forward": 2.0, "backward": 3.0, "optimizer": 4.0, "data": 1.0}
    )
    assert (
        found["samples_per_second"] == pytest.approx(0.8)
        and found["tokens"] == 8000
        and found["tokens_per_second"] == pytest.approx(80)
    )
    assert (found["loss_first"], found["loss_last"]) == (10.0, 1.0) and found[
        "steps"
    ] == record.setup["steps"] == 10
    assert found["out_of_memory"] is False and "peak_allocated_bytes" not in found


def test_pauses_count_in_the_wall_clock_and_in_no_step(make, clock):
    with make() as run:
        for _ in range(6):
            clock.now += 1
            run.step()
            with run.pause():
                clock.now += 50
    found = written(run)[0].measurement
    assert (
        found["step_seconds"] == pytest.approx(1.0)
        and found["paused_seconds"] == pytest.approx(300)
        and found["wall_seconds"] == pytest.approx(306)
    )
    assert "data_seconds" not in found and "phase_seconds" not in found and "tokens" not in found


def test_accumulated_passes_make_one_step_and_one_forward_pass(make, clock):
    with make() as run:
        for _ in range(6):
            for _ in range(4):
                clock.now += 0.5
                run.data()
                clock.now += 1
                run.forward()
                clock.now += 2
                run.backward()
            run.step()
    found = written(run)[0].measurement
    assert (
        found["step_seconds"] == pytest.approx(12.0)
        and found["forward_seconds"] == pytest.approx(1.0)
        and found["data_seconds"] == pytest.approx(2.0)
    )


def test_out_of_memory_is_recorded_and_goes_on_its_way(make, clock):
    run = make()
    with pytest.raises(MemoryError), run:
        loop(run, clock, steps=3)
        raise MemoryError
    assert (
        written(run)[0].measurement["out_of_memory"] is True
        and written(run)[0].measurement["steps"] == 3
    )


def test_out_of_memory_before_the_first_step_is_a_result(make):
    run = make()
    with pytest.raises(MemoryError), run:
        raise MemoryError
    record = written(run)[0]
    assert record.measurement["out_of_memory"] is True and "step_seconds" not in record.measurement


def test_torchs_own_error_is_recognised(make, clock):
    torch = pytest.importorskip("torch")
    run = make()
    with pytest.raises(torch.OutOfMemoryError), run:
        loop(run, clock, steps=1)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    assert written(run)[0].measurement["out_of_memory"] is True


def test_a_run_that_was_interrupted_says_so_and_a_bug_before_the_first_step_is_no_run(make, clock):
    run = make()
    with pytest.raises(KeyboardInterrupt), run:
        loop(run, clock, steps=5)
        raise KeyboardInterrupt
    assert (
        written(run)[0].notes == ("ended by KeyboardInterrupt after 5 steps",)
        and written(run)[0].measurement["out_of_memory"] is False
    )
    with pytest.raises(ValueError), (bug := make()):
        raise ValueError("in the user's own code")
    assert bug.record is None and len(written(run)) == 1


@pytest.mark.parametrize("place", ["a folder", "a file of another kind", "below a file"])
def test_a_ledger_that_fails_is_one_warning_and_the_training_goes_on(
    tmp_path, clock, caplog, place
):
    (tmp_path / "file").write_text("no ledger " * 200)
    ledger = {
        "a folder": tmp_path,
        "a file of another kind": tmp_path / "file",
        "below a file": tmp_path / "file" / "runs.sqlite",
    }[place]
    with caplog.at_level(logging.WARNING), Recording(None, ledger, clock=clock) as run:
        loop(run, clock)
        trained = True
    assert trained and run.record is None
    assert (
        len(caplog.records) == 1
        and "was not recorded" in caplog.text
        and "\n" not in caplog.records[0].getMessage()
    )


def test_a_wrong_value_does_not_lose_the_run(make, clock):
    with make(
        {"model": "gpt2", "strategy": "loraa"}, known={"micro_batch": -3, "gpus": float("nan")}
    ) as run:
        loop(run, clock)
    (record,) = written(run)
    assert record.setup["model"] == "gpt2" and not {"strategy", "micro_batch", "gpus"} & set(
        record.setup
    )
    assert any("strategy" in note for note in record.notes) and any(
        "micro_batch" in note for note in record.notes
    )


def test_a_loss_that_is_not_finite_is_a_note(make, clock):
    with make() as run:
        for _ in range(4):
            clock.now += 1
            run.step(loss=float("nan"))
    assert any("not finite" in note for note in written(run)[0].notes)


def test_a_whole_question_is_kept_and_asked_of_the_planner_afterwards(tmp_path, clock, monkeypatch):
    from planner.answer import estimate as answering
    from planner.question import Question

    asked = []

    def estimate(question, **_):
        asked.append(question)
        return {
            "options": [
                {
                    "strategy": "lora",
                    "basis": "datasheet",
                    "fits": True,
                    "step": {"seconds": {"p10": 1, "p50": 2, "p90": 3}},
                    "memory": {"allocated_bytes": {"p10": 1, "p50": 2, "p90": 3}},
                }
            ]
        }

    monkeypatch.setattr(answering, "estimate", estimate)
    question = Question(
        model="gpt2", samples=10, tokens_per_sample=5, strategy="lora", gpu="h100-sxm", lora_rank=8
    )
    with Recording(
        question,
        tmp_path / "l",
        clock=clock,
        known={"micro_batch": 4, "gpu": "NVIDIA H100 80GB HBM3"},
    ) as run:
        loop(run, clock)
    (record,) = written(run)
    assert (
        record.estimate["step_seconds"]["p50"] == 2
        and record.estimate["fits"] is True
        and "usd" not in record.estimate
    )
    assert (
        asked[0].micro_batch == 4
        and asked[0].offline
        and asked[0].gpu == "h100-sxm"
        and record.question["gpu"] == "h100-sxm"
        and record.setup["lora_rank"] == 8
    )


def test_the_estimate_beside_a_run_is_of_the_device_that_it_ran_on(monkeypatch):
    from planner.answer import estimate as answering
    from planner.question import Question
    from planner.recording.estimate import estimate_for_run

    asked = []
    monkeypatch.setattr(
        answering,
        "estimate",
        lambda question, **_: asked.append(question) or {"options": [{"strategy": "lora"}]},
    )
    question = Question(model="gpt2", samples=10, strategy="lora", gpu="h100-sxm", micro_batch=2)
    estimate_for_run(
        question, {"strategy": "lora", "gpu": "NVIDIA A100-SXM4-80GB", "micro_batch": 4}
    )
    assert asked[0].gpu == "NVIDIA A100-SXM4-80GB" and asked[0].micro_batch == 2


def test_what_was_found_out_of_the_device_beats_what_was_asked_about(make, clock):
    pytest.importorskip("torch")
    with make({"model": "gpt2", "gpu": "h100-sxm"}) as run:
        loop(run, clock)
    assert written(run)[0].setup["gpu"] == "cpu" and written(run)[0].question["gpu"] == "h100-sxm"


def test_a_question_that_fails_leaves_a_note(tmp_path, clock, monkeypatch):
    from planner.answer import estimate as answering

    def fails(question, **_):
        raise QuestionError("no such thing")

    monkeypatch.setattr(answering, "estimate", fails)
    with Recording(
        {"model": "gpt2", "samples": 5, "strategy": "lora"}, tmp_path / "l", clock=clock
    ) as run:
        loop(run, clock)
    assert written(run)[0].estimate is None and "no such thing" in written(run)[0].notes[0]


def test_only_the_first_process_of_many_writes(make, clock, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with make() as run:
        loop(run, clock)
    assert run.record is None and not run.ledger.exists()


def test_recording_imports_no_torch(tmp_path):
    code = (
        f"import planner, sys\nwith planner.record(ledger={str(tmp_path / 'l')!r}) as run:\n   "
        " [run.step() for _ in range(5)]\n"
        "assert run.record.setup.get('gpu') is None, 'no torch: whatever trained is not known'\n"
        "heavy = {'torch', 'pandas', 'transformers'} & set(sys.modules)\nassert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr[-500:]


def test_phases_are_of_the_steps_that_are_timed(make, clock):
    """Compiling makes the first five steps slow: no phase of them counts either."""
    with make() as run:
        loop(run, clock, steps=5, data=1, forward=500, backward=500, optimizer=100)
        loop(run, clock, steps=4)
    found = written(run)[0].measurement
    assert (
        found["warm_up_steps"] >= 5
        and found["forward_seconds"] == pytest.approx(2.0)
        and found["forward_seconds"] < found["step_seconds"]
    )
