"""Young and Daly against brute force, spot arithmetic against a discrete simulation."""

import math
import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.cost.repeats import extra_runs
from planner.cost.spot import daly_interval, expected_time, interrupted, young_interval
from planner.cost.terms import interruptions_per_day
from planner.errors import QuestionError
from planner.figures import Estimate


def slowdown(interval, save, restart, mean):
    """Expected time of one interval over its work: what the best interval makes least."""
    return mean * math.exp(restart / mean) * math.expm1((interval + save) / mean) / interval


def best_by_search(save, restart, mean):
    grid = [mean * 10 ** (-5 + 6.5 * i / 4000) for i in range(4001)]
    return min(grid, key=lambda interval: slowdown(interval, save, restart, mean))


@pytest.mark.parametrize("mean", [1.0, 24.0])
@pytest.mark.parametrize("ratio", [1e-4, 1e-3, 1e-2, 0.05, 0.2, 0.5])
@pytest.mark.parametrize("restart", [0.0, 0.1])
def test_young_and_daly_against_brute_force(mean, ratio, restart):
    save = ratio * mean
    best = best_by_search(save, restart, mean)
    least = slowdown(best, save, restart, mean)
    assert slowdown(daly_interval(save, mean), save, restart, mean) <= least * 1.002
    assert daly_interval(save, mean) == pytest.approx(best, rel=0.02 if ratio <= 0.05 else 0.1)
    if ratio <= 1e-2:  # Young's is the first-order answer
        assert slowdown(young_interval(save, mean), save, restart, mean) <= least * 1.01


def test_daly_saves_once_a_failure_where_saving_takes_longer_than_two_failures():
    assert daly_interval(3.0, 1.0) == 1.0 and daly_interval(2.0, 1.0) == 1.0


def simulate(work, interval, save, restart, mean, random_):
    """One run: segments of work and a checkpoint; a failure loses the segment and costs restarts
    that may fail too."""
    clock, done, next_failure = 0.0, 0.0, random_.expovariate(1 / mean)
    while done < work - 1e-12:
        length = min(interval, work - done) + save
        if clock + length <= next_failure:
            clock += length
            done += length - save
            continue
        clock = next_failure
        next_failure = clock + random_.expovariate(1 / mean)
        while clock + restart > next_failure:
            clock = next_failure
            next_failure = clock + random_.expovariate(1 / mean)
        clock += restart
    return clock


@pytest.mark.parametrize(
    "work, interval, save, restart, mean",
    [
        (10, 1, 0.05, 0.1, 5),
        (30, 2, 0.02, 0.3, 8),
        (7.3, 0.5, 0.01, 0.02, 3),
        (100, 24, 0.1, 0.5, 48),
        (5, 5, 0.1, 0.1, 10),
        (12, 0.3, 0.1, 0.5, 2),
    ],
)
def test_the_expected_time_is_that_of_a_simulation(work, interval, save, restart, mean):
    random_ = random.Random(5)
    times = [simulate(work, interval, save, restart, mean, random_) for _ in range(4000)]
    error = statistics.stdev(times) / math.sqrt(len(times))
    assert expected_time(work, interval, save, restart, mean) == pytest.approx(
        statistics.fmean(times), abs=4 * error
    )


@pytest.mark.parametrize(
    "work, save, restart, per_day", [(20, 0.02, 0.1, 5), (100, 0.05, 0.2, 2), (8, 0.01, 0.05, 12)]
)
def test_the_range_holds_four_of_five_simulated_runs(work, save, restart, per_day):
    found = interrupted(
        work, save_hours=save, restart_hours=restart, interruptions_per_day=Estimate.exact(per_day)
    )
    random_ = random.Random(7)
    extra = [
        simulate(work, found.interval_hours, save, restart, 24 / per_day, random_) - work
        for _ in range(2000)
    ]
    inside = sum(found.extra_hours.p10 <= one <= found.extra_hours.p90 for one in extra) / len(
        extra
    )
    assert 0.7 <= inside <= 0.92
    assert found.extra_hours.p50 == pytest.approx(statistics.fmean(extra), rel=0.05)


@settings(max_examples=60, deadline=None)
@given(
    work=st.floats(0.01, 1e3),
    save=st.floats(0, 0.2),
    restart=st.floats(0, 1),
    rate=st.floats(0.01, 20),
    more=st.floats(1, 3),
)
def test_more_interruptions_never_cost_less_and_no_interval_beats_the_chosen_one_by_much(
    work, save, restart, rate, more
):
    low, high = (
        interrupted(
            work,
            save_hours=save,
            restart_hours=restart,
            interruptions_per_day=Estimate.exact(r),
            interval_hours=min(work, 1.0),
        )
        for r in (rate, rate * more)
    )
    assert low.extra_hours.p50 <= high.extra_hours.p50 * (1 + 1e-9)
    best = interrupted(
        work, save_hours=save, restart_hours=restart, interruptions_per_day=Estimate.exact(rate)
    )
    assert (
        0 < best.interval_hours <= work
        and best.extra_hours.p10 <= best.extra_hours.p50 <= best.extra_hours.p90
    )
    assert best.interruptions >= 0


def test_no_interruption_costs_nothing_and_too_many_are_refused():
    calm = interrupted(
        10, save_hours=0.1, restart_hours=0.1, interruptions_per_day=Estimate.exact(0)
    )
    assert calm.extra_hours == Estimate.exact(0) and calm.interruptions == 0
    with pytest.raises(QuestionError, match="checkpoint-minutes"):
        interrupted(
            100,
            save_hours=0.1,
            restart_hours=0.1,
            interruptions_per_day=Estimate.exact(2000),
            interval_hours=50,
        )
    for bad in ({"interval": 0}, {"work": -1}, {"mean_between": 0}, {"save": math.nan}):
        with pytest.raises(QuestionError):
            expected_time(
                **{"work": 1, "interval": 1, "save": 0.1, "restart": 0, "mean_between": 10} | bad
            )


def test_what_nobody_measured_is_unknown():
    assert interruptions_per_day("gcp", "h100-sxm") is None
    rate, source = interruptions_per_day("aws", "v100-sxm2-16")
    assert 1 < rate.p10 < rate.p90 < 20 and "spot-traces" in source


def test_failed_runs_against_a_simulation():
    random_ = random.Random(3)
    trials, share = 20, 0.3
    extras = []
    for _ in range(4000):
        lost, kept = 0.0, 0
        while kept < trials:
            if random_.random() < share:
                lost += random_.random()
            else:
                kept += 1
        extras.append(lost + trials - 1)
    assert extra_runs(trials, share).p50 == pytest.approx(statistics.fmean(extras), rel=0.01)
    assert extra_runs(1, 0.0) == Estimate.exact(0.0)
    for bad in ((0, 0), (1, 1.0), (1, -0.1)):
        with pytest.raises(QuestionError):
            extra_runs(*bad)
