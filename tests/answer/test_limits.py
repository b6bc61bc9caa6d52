"""Limits are answered in words: kept, by how much, for how many runs; or what rules all out."""

import datetime
import math

import pytest

from planner import estimate
from planner.answer.limits import broken_limits
from planner.answer.verdict import limit_words
from planner.choose.decision import decide
from planner.figures import Estimate
from planner.plan.limits import Limit
from planner.question import Question
from planner.today import as_of

ASKED = {"model": "Llama-3.2-1B", "samples": 20_000, "tokens_per_sample": 512.0}


def lines(document):
    return [line for line in document["first_lines"] if line["topic"] == "limit"]


def asked(**fields):
    return Question(**(ASKED | fields))


@pytest.mark.parametrize("answer", [estimate, decide])
def test_a_kept_limit_says_by_how_much_and_for_how_many_runs(answer):
    document = answer(asked(max_usd=20, max_hours=8, strategy=["lora"]))
    usd, hours = lines(document)
    assert not usd["warning"] and "of $20.00 (--max-usd): kept by $" in usd["text"]
    assert "of 8.00 h (--max-hours): kept by " in hours["text"]
    (way,) = document.get("options") or [document["recommended"]]
    for limit, figure in zip(
        way["limits"],
        (way["cost"]["usd"], way["run"]["wall_hours"])
        if "cost" in way
        else (way["usd"], way["wall_hours"]),
    ):
        assert limit["used"] == figure and limit["kept"] and limit["chance_kept"] > 0.5
        assert limit["left"] == limit["allowed"] - figure["p50"]
        assert 0 <= limit["runs"] <= limit["allowed"] / figure["p50"] < limit["runs"] + 1.1
        assert (
            f"{limit['runs']} such run" in (usd if limit["limit"] == "max_usd" else hours)["text"]
        )
    assert broken_limits(document) == [] if "options" in document else True


@pytest.mark.parametrize("answer", [estimate, decide])
def test_what_breaks_a_limit_is_named_with_what_comes_nearest(answer):
    document = answer(asked(max_usd=0.02))
    (line,) = lines(document)
    assert document["recommended"] is None and line["warning"]
    assert line["text"].startswith("nothing keeps --max-usd; the nearest is ")
    assert "of $0.02 (--max-usd): broken by $" in line["text"] and "% chance" in line["text"]


def test_more_devices_are_named_where_one_is_too_slow():
    one = estimate(asked(strategy=["lora"], gpu="l4"))["options"][0]["run"]["wall_hours"]["p50"]
    document = estimate(asked(strategy=["lora"], gpu="l4", max_hours=one / 2))
    (line,) = lines(document)
    assert "nothing keeps --max-hours" in line["text"] and " × NVIDIA L4" in line["text"]
    told = estimate(asked(strategy=["lora"], gpu="l4", gpus=1, max_hours=one / 2))
    assert "would do it" not in lines(told)[0]["text"]  # their number was asked for


def test_what_does_not_fit_names_the_memory_and_the_nearest_change():
    document = estimate(asked(model="Llama-3.1-8B", gpu="rtx-4090", strategy=["fine_tune"]))
    (line,) = lines(document)
    assert line["warning"] and line["text"].startswith("nothing fits: fine_tune on NVIDIA GeForce")
    assert "would do: LoRA instead, " in line["text"]
    assert document["options"][0]["limits"] == []


def test_no_limit_and_something_recommended_needs_no_line():
    assert lines(estimate(asked(gpu="l4", strategy=["lora"]))) == []


def test_trials_share_the_budget():
    one, five = (
        estimate(asked(gpu="h100-sxm", strategy=["lora"], max_usd=50, trials=trials))
        for trials in (1, 5)
    )
    assert " for 5 runs of $50.00" in lines(five)[0]["text"]
    runs = [document["options"][0]["limits"][0]["runs"] for document in (one, five)]
    assert runs[0] == pytest.approx(runs[1], rel=0.05)  # what each run costs is what it was


def test_a_deadline_is_counted_from_now():
    until = as_of() + datetime.timedelta(days=3)
    (line,) = lines(estimate(asked(gpu="h100-sxm", strategy=["lora"], deadline=until)))
    assert " before it (--deadline): kept" in line["text"]
    past = as_of() - datetime.timedelta(days=3)
    (line,) = lines(estimate(asked(gpu="h100-sxm", strategy=["lora"], deadline=past)))
    assert line["warning"] and "after it (--deadline): broken" in line["text"]


def test_words_of_a_limit():
    tight = Limit("max_usd", 20.0, Estimate(10.0, 18.0, 30.0), 1)
    assert limit_words(tight) == (
        "$18.00 of $20.00 (--max-usd): kept by $2.00, 60% chance to keep it, 1 such run"
    )
    assert math.isclose(tight.chance_kept, 0.604, abs_tol=0.01)
    over = Limit("max_hours", 1.0, Estimate(1.0, 2.0, 4.0), 0)
    assert "broken by 60.0 min at the median, 10% chance to keep it" in limit_words(over)
