"""Questions about the order in which a pipeline's stages run."""

import pytest

from planner import estimate
from planner.errors import QuestionError

FOUR = dict(
    model="Llama-3.2-1B",
    samples=1000,
    tokens_per_sample=1024,
    strategy=["scratch"],
    gpu="a100-80gb-sxm",
    gpus=4,
    pipeline_parallel=4,
    micro_batch=1,
    global_batch=8,
    price=1.5,
)


def asked(**fields):
    question = FOUR | fields
    return estimate(question.pop("model"), **question)


def option(**fields):
    return asked(**fields)["options"][0]


def layers(found):
    return found["step"]["layers"]


@pytest.mark.parametrize("schedule", ["zb_h1", "zbv"])
def test_zero_bubble_is_faster_and_holds_no_less(schedule):
    plain, apart = option(), option(pipeline_schedule=schedule)
    assert apart["step"]["seconds"]["p50"] < plain["step"]["seconds"]["p50"]
    assert layers(apart)["bubble_seconds"] < layers(plain)["bubble_seconds"]
    assert layers(apart)["pipeline_schedule"] == schedule
    memory = [one["memory"]["allocated_bytes"]["p50"] for one in (plain, apart)]
    assert memory[1] >= memory[0]
    assert sum(apart["memory"]["breakdown"].values()) == pytest.approx(
        apart["memory"]["device_used_bytes"]["p50"]
    )


def test_the_schedules_that_are_named_are_those_of_the_chunks():
    assert option(pipeline_schedule="1f1b") == option()
    two = {"pipeline_chunks": 2}
    assert option(pipeline_schedule="interleaved", **two) == option(**two)
    assert layers(option(**two))["pipeline_schedule"] == "interleaved"


def test_dashes_are_taken_and_the_schedule_is_said():
    lines = [line["text"] for line in asked(pipeline_schedule="zb-h1")["first_lines"]]
    assert any("stages run zb-h1 (products that make gradients of weights" in t for t in lines)


def test_the_first_rank_of_a_v_has_both_ends():
    seconds = layers(option(pipeline_schedule="zbv"))["stage_seconds"]
    assert seconds[0] > seconds[1] == seconds[2]
    assert (
        layers(option(pipeline_schedule="zbv", gpus=2, pipeline_parallel=2))["pipeline_chunks"] == 2
    )


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"pipeline_schedule": "interleaved"}, "pipeline_chunks 2 or more"),
        ({"pipeline_schedule": "1f1b", "pipeline_chunks": 2}, "1f1b with 2 parts"),
        ({"pipeline_schedule": "zbv", "pipeline_chunks": 4}, "zbv has two parts"),
        ({"pipeline_schedule": "zb_h1", "compile": True}, "compiled steps"),
        ({"pipeline_schedule": "zbv", "pipeline_parallel": 1}, "zbv without a pipeline"),
    ],
)
def test_what_no_schedule_runs_is_refused(fields, why):
    with pytest.raises(QuestionError, match=why):
        option(**fields)
