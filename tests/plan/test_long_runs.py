"""Many devices and many days: failures and stragglers are hours of the run, said and summed."""

import pytest

import planner
from planner import Question
from planner.devices.lookup import find_device
from planner.errors import QuestionError
from planner.parallel.plan import ParallelPlan
from planner.plan.phases.saving import writers_of

LONG = {
    "model": "gpt2",
    "strategy": ["scratch"],
    "tokens_per_sample": 1024,
    "gpu": "a100-80gb-sxm",
    "provider": "runpod",
    "offline": True,
}


def answer(**more):
    return planner.estimate(Question(**LONG | more))


def one(**more):
    return answer(**more)["options"][0]


def first_lines(document):
    return " ".join(line["text"] for line in document["first_lines"])


@pytest.fixture(scope="module")
def long_run():
    return one(gpus=64, samples=10_000_000, epochs=2000)


def hours(option):
    return {"interruptions": 0.0, "stragglers": 0.0} | option["run"]["breakdown_hours"]


def test_a_short_run_of_one_device_is_left_as_it_is():
    option = one(samples=100_000)
    assert hours(option)["interruptions"] == hours(option)["stragglers"] == 0
    assert not any("failures" in text for text in option["assumptions"])


def test_a_long_one_is_longer_by_failures_that_sum_and_are_said(long_run):
    run = long_run["run"]
    lost = hours(long_run)["interruptions"]
    assert lost > 0 and hours(long_run)["stragglers"] == 0
    assert sum(hours(long_run).values()) == pytest.approx(run["wall_hours"]["p50"])
    assert sum(run["of_which_hours"]["interruptions"].values()) == pytest.approx(lost)
    assert run["gpu_hours"]["p50"] == pytest.approx(64 * run["wall_hours"]["p50"])
    assert any("failures: " in text and "Daly" in text for text in long_run["assumptions"])
    breakdown = long_run["cost"]["breakdown"]
    assert breakdown["lost_work"] == pytest.approx(
        64 * lost * long_run["cost"]["usd_per_gpu_hour"], rel=0.01
    )


def test_failures_stand_in_the_first_lines():
    long = answer(gpus=64, samples=10_000_000, epochs=200, interruptions_per_day=30.0)
    assert "failures of devices are expected" in first_lines(long)
    assert "failures" not in first_lines(answer(gpus=64, samples=100_000))


def test_given_rates_and_intervals_win(long_run):
    calm = one(gpus=64, samples=10_000_000, epochs=2000, interruptions_per_day=0.0)
    assert hours(calm)["interruptions"] == 0
    often = one(gpus=64, samples=10_000_000, epochs=2000, interruptions_per_day=5.0)
    assert hours(often)["interruptions"] > 3 * hours(long_run)["interruptions"]
    rarely_saved = one(gpus=64, samples=10_000_000, epochs=2000, checkpoint_minutes=3000)
    assert hours(rarely_saved)["interruptions"] > 3 * hours(long_run)["interruptions"]


def test_large_jobs_wait_for_their_slowest_device():
    small, document = (answer(gpus=gpus, samples=10_000_000) for gpus in (64, 128))
    small, large = small["options"][0], document["options"][0]
    assert hours(small)["stragglers"] == 0
    share = hours(large)["stragglers"] / (hours(large)["stragglers"] + hours(large)["training"])
    assert share == pytest.approx(0.05, abs=0.005)
    assert sum(hours(large).values()) == pytest.approx(large["run"]["wall_hours"]["p50"])
    assert "slowest of 128 devices" in first_lines(document)


def test_uneven_lengths_make_more_of_them_wait():
    full, uneven = (one(gpus=128, samples=10_000_000, padding=p) for p in ("packed", "longest"))
    shares = [
        hours(option)["stragglers"] / (hours(option)["stragglers"] + hours(option)["training"])
        for option in (full, uneven)
    ]
    assert shares == pytest.approx([0.05, 0.104], abs=0.01)


def test_checkpoints_are_written_once(long_run):
    """Those against failures in place of a default's; an asked cadence stays."""
    lost = long_run["run"]["of_which_hours"]["interruptions"]
    assert 0 < hours(long_run)["saving"] < lost["checkpoints"] / 10
    asked = one(gpus=64, samples=10_000_000, epochs=2000, saves_per_epoch=10)
    assert hours(asked)["saving"] > 10 * hours(long_run)["saving"]


def test_ranks_of_a_copy_write_their_parts_together():
    spec = find_device("a100-80gb-sxm")
    assert writers_of(spec, ParallelPlan(dp_replicate=16)) == 1
    assert writers_of(spec, ParallelPlan(tp=8, pp=4, dp_replicate=2)) == 4
    assert writers_of(spec, ParallelPlan(tp=8, pp=4, dp_shard=2, sharding="zero1")) == 8


def test_one_device_takes_no_rate_of_failures_without_spot():
    with pytest.raises(QuestionError, match="spot or to several"):
        Question(**LONG, samples=1000, interruptions_per_day=1.0)
