"""Runs on machines that fail, event by event, against Daly's expectation and by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.cost.reliability.failures import System, failures_per_device_hour, systems
from planner.cost.reliability.simulation import PARTS, Machines, Work, simulated
from planner.cost.spot import expected_time
from planner.errors import ProfileError, QuestionError
from planner.figures import Estimate

NEVER = Estimate.exact(0.0)


def machines(rate, **more):
    return Machines(**{"count": 1, "detect_hours": NEVER, "replace_hours": NEVER, **more} | rate)


def failing(per_hour):
    return {"failures_per_machine_hour": Estimate.exact(per_hour)}


@pytest.mark.parametrize(
    "hours, interval, save, restart, mean",
    [(2000, 1, 0.05, 0.1, 5), (3000, 2, 0.02, 0.3, 8), (900, 0.5, 0.01, 0.02, 3)],
)
def test_many_failures_take_what_daly_expects(hours, interval, save, restart, mean):
    found = simulated(Work(hours, interval, save, restart), machines(failing(1 / mean)))
    expected = expected_time(hours, interval, save, restart, mean) - hours
    assert found.extra_hours.p50 == pytest.approx(expected, rel=0.05)
    assert found.failures == pytest.approx((hours + expected) / mean, rel=0.05)


def test_without_failures_only_checkpoints_are_added():
    """By hand: ten hours in three intervals and a rest are four checkpoints."""
    found = simulated(Work(10.0, 3.0, 0.25, 1.0), machines(failing(0.0)))
    assert found.extra_hours == Estimate.exact(1.0)
    assert found.parts_hours == {name: 1.0 if name == "checkpoints" else 0.0 for name in PARTS}
    assert found.failures == 0 and found.share == pytest.approx(10 / 11)


@settings(max_examples=30, deadline=None)
@given(
    st.floats(1, 200), st.floats(0.1, 5), st.floats(0, 0.2), st.floats(0, 1), st.floats(1e-4, 0.2)
)
def test_parts_sum_and_the_same_question_has_the_same_answer(hours, interval, save, restart, rate):
    asked = (Work(hours, interval, save, restart), machines(failing(rate)))
    found = simulated(*asked)
    simulated.cache_clear()
    assert simulated(*asked) == found
    assert sum(found.parts_hours.values()) == pytest.approx(found.extra_hours.p50)
    assert min(found.parts_hours.values()) >= 0 < found.share <= 1
    assert found.extra_hours.p10 <= found.extra_hours.p50 <= found.extra_hours.p90


def test_slower_hands_cost_what_they_are_slower():
    """Each failure waits an hour to be noticed and half an hour to be replaced."""
    work = Work(1000.0, 1.0, 0.0, 0.0)
    slow = machines(
        failing(0.1), detect_hours=Estimate.exact(1.0), replace_hours=Estimate.exact(0.5)
    )
    found = simulated(work, slow)
    assert found.parts_hours["detection"] == pytest.approx(found.failures, rel=0.05)
    assert found.parts_hours["replacement"] == pytest.approx(found.failures / 2, rel=0.05)


def test_only_failures_of_hardware_take_a_machine_away():
    slow = {"replace_hours": Estimate.exact(1.0)}
    work = Work(1000.0, 1.0, 0.0, 0.0)
    none = simulated(work, machines(failing(0.1), **slow, hardware_share=0.0))
    some = simulated(work, machines(failing(0.1), **slow, hardware_share=0.5))
    assert none.parts_hours["replacement"] == 0
    assert some.parts_hours["replacement"] == pytest.approx(some.failures / 2, rel=0.15)


def test_without_spares_a_run_waits_for_the_repair():
    """Sixteen machines that fail every ten days together, repaired in a day: with no spare each
    failure waits a day, with four hardly any does."""
    work = Work(2000.0, 1.0, 0.0, 0.0)
    rate = failing(1 / 240 / 16)
    waits = [
        simulated(work, machines(rate, count=16, spares=spares, repair_hours=24.0))
        for spares in (0, 4)
    ]
    assert waits[0].parts_hours["replacement"] == pytest.approx(24 * waits[0].failures, rel=0.05)
    assert waits[1].parts_hours["replacement"] < 0.01 * waits[0].parts_hours["replacement"]


def test_what_is_not_known_widens_the_range():
    work = Work(2000.0, 1.0, 0.02, 0.2)
    sure = simulated(work, machines(failing(0.02)))
    unsure = simulated(work, machines({"failures_per_machine_hour": Estimate(0.01, 0.02, 0.06)}))
    assert unsure.extra_hours.p90 > 1.5 * sure.extra_hours.p90
    assert unsure.extra_hours.p10 < sure.extra_hours.p10


def test_a_run_that_never_ends_is_refused():
    with pytest.raises(QuestionError, match="failures a day"):
        simulated(Work(1000.0, 24.0, 0.1, 0.1), machines(failing(1.0)))


def test_rates_of_systems_are_counted_by_hand():
    """419 failures of 16,384 devices in 54 days are one in some 50,700 device-hours."""
    llama = next(one for one in systems() if one.name == "llama-3.1-405b")
    assert 1 / llama.failures_per_device_hour == pytest.approx(16384 * 54 * 24 / 419)
    every = failures_per_device_hour()
    rates = [one.failures_per_device_hour for one in systems()]
    assert min(rates) <= every.p10 < every.p50 < every.p90 <= max(rates)


def test_one_system_is_no_rate():
    only: System = systems()[0]
    with pytest.raises(ProfileError, match="fewer than two"):
        failures_per_device_hour([only])
