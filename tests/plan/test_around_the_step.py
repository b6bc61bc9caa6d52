"""What software does around a step: as asked, as the stack does, and what excludes it."""

import pytest

from planner.answer.estimate import estimate
from planner.errors import QuestionError
from planner.plan.around.clipping import clipped_at, is_clipped
from planner.question import Question

ASKED = {
    "samples": 2000,
    "tokens_per_sample": 256,
    "strategy": ["fine_tune"],
    "gpu": "a100-sxm-80",
    "micro_batch": 4,
    "global_batch": 4,
}


def answered(**fields):
    document = estimate(Question(model="gpt2", **ASKED | fields))
    return document["options"][0], [line["text"] for line in document["first_lines"]]


@pytest.mark.parametrize(
    ("fields", "norm"),
    [
        ({}, 1.0),
        ({"stack": "trl"}, 1.0),
        ({"stack": "lightning"}, 0.0),
        ({"stack": "loop"}, 0.0),
        ({"stack": "loop", "max_grad_norm": 0.3}, 0.3),
        ({"max_grad_norm": 0}, 0.0),
        ({"optimizer_in_backward": True}, 0.0),
    ],
)
def test_gradients_are_clipped_as_asked_else_as_the_stack_does(fields, norm):
    question = Question(model="gpt2", samples=10, tokens_per_sample=8, **fields)
    assert clipped_at(question) == norm and is_clipped(question) == (norm > 0)


def test_clipping_takes_its_time_whoever_asks_for_it_and_the_first_lines_say_so():
    by_stack, lines = answered()
    assert not [line for line in lines if "clipped" in line]
    none, told = answered(max_grad_norm=0)
    assert "gradients are not clipped" in told
    hours = by_stack["run"]["of_which_hours"]["training"]
    assert hours["clipping"] > 0
    assert none["run"]["of_which_hours"]["training"].get("clipping", 0) == 0
    loop, told = answered(stack="loop", max_grad_norm=1)
    assert "gradients are clipped at a norm of 1" in told
    assert loop["run"]["of_which_hours"]["training"]["clipping"] == pytest.approx(
        hours["clipping"], rel=0.01
    )


@pytest.mark.parametrize("fields", [{"optimizer_in_backward": True}, {"optimizer": "lomo"}])
def test_no_norm_is_taken_of_gradients_that_are_gone(fields):
    with pytest.raises(QuestionError, match="before there is a norm"):
        answered(max_grad_norm=1, global_batch=None, **fields)
    answered(max_grad_norm=0, global_batch=None, **fields)
