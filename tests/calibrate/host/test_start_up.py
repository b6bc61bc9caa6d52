"""What a script takes to start: processes of their own."""

from types import SimpleNamespace

import pytest

from planner.calibrate.host import start_up


@pytest.fixture(autouse=True)
def nothing_written(monkeypatch):
    monkeypatch.setattr(start_up, "measure_writing", lambda: iter(()))


CPU = SimpleNamespace(device="cpu")


def test_a_process_is_timed_from_its_start_to_its_end():
    program = "import sys, time\nassert sys.argv[1:-1] == ['word']\ntime.sleep(0.2)"
    assert 0.2 < start_up.process_seconds(program, ["word"], 30.0) < 30.0


@pytest.mark.parametrize("program", ["raise SystemExit(1)", "import time; time.sleep(60)"])
def test_a_process_that_fails_or_does_not_end_has_no_time(program):
    assert start_up.process_seconds(program, [], 1.0) is None


def test_the_fastest_round_counts(monkeypatch):
    seconds = {"trainer": iter([9.0, 5.0, 6.0]), "loop": iter([None, 4.0, 3.0])}
    names = {program: name for name, program in start_up.PROGRAMS.items()}
    monkeypatch.setattr(
        start_up, "process_seconds", lambda program, words, left: next(seconds[names[program]])
    )
    trainer, loop = start_up.measure_start_up(CPU, budget_seconds=60.0)
    assert (trainer["name"], trainer["value"]) == ("import_seconds.trainer", 5.0)
    assert trainer["samples"] == [9.0, 5.0, 6.0] and trainer["unit"] == "s"
    assert (loop["name"], loop["value"]) == ("import_seconds.loop", 3.0)


def test_nothing_is_started_that_cannot_end_in_time(monkeypatch):
    monkeypatch.setattr(start_up, "process_seconds", lambda *_: pytest.fail("started"))
    assert not list(start_up.measure_start_up(CPU, budget_seconds=1.0))


@pytest.mark.slow
@pytest.mark.parametrize("name", start_up.PROGRAMS)
def test_the_programs_run(name):
    assert start_up.process_seconds(start_up.PROGRAMS[name], ["cpu"], 120.0) is not None
