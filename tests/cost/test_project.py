"""The project beside the run: trials, failures, debugging and idling around one run's dollars."""

import pytest

import planner
from planner import Question
from planner.cost.repeats import Habits, extra_runs, habits
from planner.errors import QuestionError
from planner.uncertainty.spread import overhead

ASKED = {
    "model": "gpt2",
    "samples": 20_000,
    "tokens_per_sample": 300,
    "strategy": ["fine_tune"],
    "gpu": "a10g",
    "offline": True,
}


def cost(**more):
    return planner.estimate(Question(**(ASKED | more)))["options"][0]["cost"]


def line(**more):
    answer = planner.estimate(Question(**(ASKED | more)))
    (found,) = [line["text"] for line in answer["first_lines"] if line["topic"] == "cost"]
    return found


def test_dollars_by_hand():
    """3 runs that succeed, a quarter of all fails (one failure of half a run): 3.5 runs of $10 and
    2 h at $1.5 are $38; a fifth idle makes it $47.5; $5 are fixed."""
    half = overhead("paid_before_failure").p50
    assert half == pytest.approx(0.5)
    assert Habits(3, 0.25, 2, 0.2).usd(10, 1.5, 5) == pytest.approx((35 + 3) / 0.8 + 5)
    assert 1 + extra_runs(3, 0.25).p50 == pytest.approx(3.5)


def test_what_is_given_wins_over_the_rows():
    few, many = habits()
    assert few.trials < many.trials and few.failed_share < many.failed_share
    few, many = habits(trials=9, failed_share=0.0)
    assert few.trials == many.trials == 9 and few.failed_share == many.failed_share == 0.0
    assert few.idle_share < many.idle_share
    with pytest.raises(QuestionError):
        habits(trials=2, failed_share=1.0)[0].usd(1, 1, 0)


def test_the_project_costs_more_than_the_run_and_never_less():
    found = cost()
    project = found["project_range_usd"]
    assert project["run"] == pytest.approx(found["breakdown"]["compute"])
    assert project["run"] < project["low"] < project["high"]
    assert found["usd"]["p50"] == pytest.approx(sum(found["breakdown"].values()))


def test_trials_and_labels_of_the_question_are_counted_once():
    given = cost(trials=3, failed_share=0.0, usd_per_label=0.1)
    project, parts = given["project_range_usd"], given["breakdown"]
    worked = project["run"] * 3 + 0.5 * given["usd_per_gpu_hour"]
    assert project["low"] == pytest.approx(
        worked / 0.95 + parts["data"] + parts["storage"] + parts["egress"]
    )
    assert parts["data"] == pytest.approx(2000)


def test_one_line_says_both():
    text = line()
    assert "this run $" in text and "the project as people run it $" in text
    assert "2 to 6 trials" in text and "labels not counted" in text
    given = line(trials=4, failed_share=0.25, usd_per_label=0.01)
    assert "one run $" in given and "this run" not in given  # the sum is of four, with labels
    assert "4 trials, 25% of runs failed" in given and "labels as given" in given


def test_a_run_without_a_price_says_nothing_of_money():
    answer = planner.estimate(Question(**(ASKED | {"gpu": "titan-v", "price": None})))
    option = answer["options"][0]
    if option["cost"] is None:
        assert not [line for line in answer["first_lines"] if line["topic"] == "cost"]
    else:
        assert option["cost"]["project_range_usd"] is not None
