"""What a run will have taken, forecast from its steps by a clock that the test turns."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import QuestionError
from planner.ledger.stopwatch import WARM_UP_STEPS
from planner.recording.forecast import Forecast
from planner.recording.still_to_come import student

SECONDS = st.floats(0.001, 1000.0)


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def plan(hours=1.0, low=0.8, high=1.5, price=2.0, gpus=1, **run):
    return {
        "option": {
            "gpus": gpus,
            "run": {"wall_hours": {"p10": low * hours, "p50": hours, "p90": high * hours}} | run,
            "cost": None if price is None else {"usd_per_gpu_hour": price},
        }
    }


def made(clock, steps, **more):
    said = []
    return Forecast(steps, clock=clock, say=said.append, **more), said


def run(forecast, clock, seconds):
    """Steps of so many seconds each; how many were made, and the outlooks after each."""
    found = []
    for each in seconds:
        clock.now += each
        stop = forecast.step()
        found.append(forecast.outlook())
        if stop:
            break
    return found


@given(each=SECONDS, steps=st.integers(4, 200), warm=st.floats(1.0, 30.0))
@settings(max_examples=60, deadline=None)
def test_equal_steps_are_forecast_to_the_second_whatever_the_first_ones_took(each, steps, warm):
    clock = Clock()
    forecast, _ = made(clock, steps)
    taken = [warm * each] * WARM_UP_STEPS + [each] * (steps - WARM_UP_STEPS)
    for found in run(forecast, clock, taken)[WARM_UP_STEPS + 1 :]:
        assert found.end_seconds.p50 == pytest.approx(sum(taken), rel=1e-9)
        assert found.end_seconds.p10 == pytest.approx(found.end_seconds.p90, rel=1e-6)


def test_nothing_is_forecast_of_warming_up_alone():
    clock = Clock()
    forecast, said = made(clock, 50)
    assert run(forecast, clock, [9.0, 4.0, 1.0]) == [None] * 3 and not said
    assert run(forecast, clock, [1.0])[0].end_seconds.p50 == pytest.approx(13 + 48)


@given(
    taken=st.lists(SECONDS, min_size=1, max_size=80),
    left=st.integers(0, 500),
    pause=st.floats(0, 100),
)
@settings(max_examples=100, deadline=None)
def test_figures_are_in_order_and_never_below_what_is_spent(taken, left, pause):
    clock = Clock()
    forecast, _ = made(clock, len(taken) + left, plan=plan(), to_come={"evaluation": 3})
    for found in run(forecast, clock, taken):
        with forecast.pause("evaluation"):
            clock.now += pause
        if found is not None:
            end = found.end_seconds
            assert 0 <= found.spent_seconds <= end.p10 <= end.p50 <= end.p90
            assert 0 <= found.spent_usd <= found.end_usd.p10 <= found.end_usd.p90


@pytest.mark.parametrize("seen, drift", [(10, 0.0), (40, 0.0), (160, 0.0), (100, 0.3), (200, 0.3)])
def test_the_range_covers_four_runs_in_five(seen, drift):
    """Steps of a lognormal spread of 20 %, alone or over a level that changes every ten steps: 80 %
    intervals, by 400 runs, whose own share is known to 2 %."""
    covered, steps, noise = 0, 400, np.random.default_rng(7)
    for _ in range(400):
        level = np.repeat(noise.normal(0, drift, steps // 10), 10)
        taken = np.exp(noise.normal(0, 0.2, steps) + level)
        clock = Clock()
        forecast, _ = made(clock, steps)
        end = run(forecast, clock, taken[:seen])[-1].end_seconds
        covered += end.p10 <= taken.sum() <= end.p90
    assert 0.75 <= covered / 400 <= 0.95


def test_the_forecast_narrows_on_the_truth():
    noise = np.random.default_rng(1)
    taken = np.exp(noise.normal(0, 0.3, 2000))
    clock = Clock()
    forecast, _ = made(clock, 2000)
    found = run(forecast, clock, taken)
    width = [f.end_seconds.p90 - f.end_seconds.p10 for f in (found[20], found[200], found[1500])]
    assert width == sorted(width, reverse=True)
    last = found[-1].end_seconds
    assert last.p10 == last.p50 == last.p90 == pytest.approx(taken.sum())


def test_pauses_to_come_are_as_long_as_those_seen_and_before_that_as_planned():
    clock = Clock()
    document = plan(
        1.0,
        price=None,
        evaluations=4.0,
        breakdown_hours={"evaluation": 0.1, "saving": 0.0},
        of_which_hours={"start_up": {"start the machine": 0.01, "import": 0.002}},
    )
    forecast, _ = made(clock, 100, plan=document)
    found = run(forecast, clock, [1.0] * 10)[-1]
    assert found.spent_seconds == pytest.approx(36 + 10), "the machine started before the program"
    assert found.end_seconds.p50 == pytest.approx(36 + 100 + 360)
    assert found.end_seconds.p90 > 36 + 100 + 360 * 1.4, "with the range of the plan's hours"
    with forecast.pause("evaluation"):
        clock.now += 5.0
    assert forecast.outlook().end_seconds.p50 == pytest.approx(36 + 100 + 4 * 5)
    assert forecast.outlook().spent_usd is None and forecast.outlook().end_usd is None


def test_what_nothing_is_known_of_is_said():
    clock = Clock()
    forecast, said = made(clock, 100, to_come={"evaluation": 3, "saving": 1})
    found = run(forecast, clock, [1.0] * 5)[-1]
    assert found.end_seconds.p50 == pytest.approx(100)
    assert "3 evaluations and 1 saving still to come, of unknown length, not counted" in said[0]


def test_the_plan_is_warned_of_once_and_only_where_it_is_passed():
    for each, warnings in ((0.9, 0), (1.4, 0), (1.6, 1)):
        clock = Clock()
        forecast, said = made(clock, 3600, plan=plan(1.0))
        run(forecast, clock, [each] * 400)
        lines = [line for line in said if "will be passed" in line]
        assert len(lines) == warnings
    assert "90 min ($3.00)" in lines[0].replace(".0 min", " min") and "planned" in said[0]


@given(each=SECONDS, part=st.floats(0.05, 0.95), price=st.floats(0.1, 100.0))
@settings(max_examples=60, deadline=None)
def test_it_stops_once_before_the_limit_and_not_a_step_too_early(each, part, price):
    clock, steps = Clock(), 200
    limit = part * steps * each * price / 3600
    forecast, said = made(clock, steps, usd_per_hour=price, max_usd=limit)
    made_steps = len(run(forecast, clock, [each] * steps))
    assert made_steps == max(1, math.floor(part * steps + 1e-9)) or made_steps == pytest.approx(
        part * steps, abs=1.01
    )
    spent = (clock.now - 100.0) * price / 3600
    assert spent <= limit * (1 + 1e-9) and spent + 2 * each * price / 3600 > limit
    assert forecast.step() is True, "it stays stopped"
    assert len([line for line in said if "stopped after" in line]) == 1


def test_where_it_stops_only_at_some_steps_the_limit_is_kept_all_the_same():
    """As of many processes, which agree at every tenth step."""
    clock = Clock()
    forecast, said = made(clock, 100, usd_per_hour=3600.0, max_usd=57.5, stops_every=10)
    run(forecast, clock, [1.0] * 100)
    assert clock.now - 100.0 == 50.0 and "stopped after step 50" in said[-1]


def test_a_checkpoint_is_left_room_for():
    clock = Clock()
    forecast, _ = made(clock, 100, usd_per_hour=3600.0, max_usd=50.5)
    run(forecast, clock, [1.0] * 10)
    with forecast.pause("saving"):
        clock.now += 10.0
    run(forecast, clock, [1.0] * 90)
    assert clock.now - 100.0 == 40.0, "30 steps, 10 s of saving, and 10 s more for the last one"


def test_a_run_that_goes_on_counts_only_what_is_left():
    clock = Clock()
    forecast, _ = made(clock, 100, done=90)
    assert run(forecast, clock, [2.0] * 4)[-1].end_seconds.p50 == pytest.approx(20)


def test_a_line_is_said_for_every_tenth_of_the_run():
    clock = Clock()
    forecast, said = made(clock, 1000, plan=plan(10.0))
    run(forecast, clock, [1.0] * 1000)
    assert len(said) == 10 and said[0].startswith("planner: step 4 of 1,000: 4.00 s")


@pytest.mark.parametrize(
    "more, word",
    [
        (dict(max_usd=5.0), "no price an hour"),
        (dict(max_usd=0.0, usd_per_hour=1.0), "no limit"),
        (dict(plan={"option": {}}), "is no plan"),
        (dict(plan="nowhere.json"), "cannot be read"),
    ],
)
def test_what_cannot_be_kept_is_refused(more, word):
    with pytest.raises(QuestionError, match=word):
        Forecast(10, **more)


def test_a_plan_is_read_from_its_file(tmp_path):
    (tmp_path / "plan.json").write_text(json.dumps(plan(2.0, gpus=4)))
    forecast = Forecast(10, tmp_path / "plan.json")
    assert forecast.usd_per_hour == 8.0 and forecast.plan.hours.p50 == 2.0


def test_student_is_wider_the_less_is_known():
    """90th percentiles as tables print them."""
    table = {1: 3.078, 2: 1.886, 3: 1.638, 5: 1.476, 15: 1.341}
    assert {n: student(n) for n in table} == pytest.approx(table, rel=0.01)
