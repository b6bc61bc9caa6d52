"""What a question asks beyond its run is capped or has no effect, and the first lines say so."""

import pytest

from planner.answer.estimate import estimate
from planner.errors import QuestionError
from planner.question import Question
from planner.question.stack import stack_of

BERT = {
    "model": "bert-base-uncased",
    "samples": 5000,
    "tokens_per_sample": 128,
    "gpu": "t4",
    "strategy": "fine_tune",
}


def asked(**fields):
    answer = estimate(Question(**(BERT | fields)))
    return answer["options"][0], [line["text"] for line in answer["first_lines"]]


def test_no_more_evaluations_and_saves_than_steps():
    option, lines = asked(evaluations_per_epoch=10_000, saves_per_epoch=10_000, epochs=1)
    run = option["run"]
    assert run["evaluations"] == run["steps"]
    every_step, _ = asked(evaluations_per_epoch=10_000, saves_per_epoch=5_000, epochs=1)
    assert every_step["run"]["breakdown_hours"]["saving"] == run["breakdown_hours"]["saving"]
    assert any("--saves-per-epoch" in text and f"{run['steps']:,} steps" in text for text in lines)


@pytest.mark.parametrize("fields", [{"epochs": 0.5}, {"max_steps": 10}])
def test_what_is_begun_is_evaluated_once_at_its_end(fields):
    option, lines = asked(**fields)
    assert option["run"]["evaluations"] == 1
    assert any("evaluated 1 time on" in text for text in lines)


def test_beams_without_text_have_no_effect():
    fields = {"model": "t5-base", "target_tokens_per_sample": 30, "beams": 4}
    _, lines = asked(**fields, evaluation_generates=False)
    assert any("--beams has no effect" in text for text in lines)
    _, lines = asked(**fields, evaluation_generates=True)
    assert not any("no effect" in text for text in lines)


def test_more_held_out_than_trained_on_is_said():
    assert any("is more than the 5,000" in text for text in asked(evaluation_samples=10**6)[1])
    assert not any("is more than the" in text for text in asked(evaluation_samples=5000)[1])


def test_an_evaluated_batch_that_the_device_cannot_hold_is_among_the_first_lines():
    fields = {"model": "Llama-3.1-8B", "tokens_per_sample": 400, "strategy": "lora"}
    option, lines = asked(**fields, gpu="a100-sxm-80", evaluation_batch=250)
    said = [text for text in lines if "more than it has" in text]
    assert said and not set(said) & set(option["warnings"])
    _, lines = asked(**fields, gpu="a100-sxm-80")
    assert not any("more than it has" in text for text in lines)


def test_a_run_that_costs_nothing_has_no_project():
    assert any("the project as people run it" in text for text in asked()[1])
    assert not any("the project as people run it" in text for text in asked(price=0)[1])


@pytest.mark.parametrize("text", ["", " ", "unsloth-2019", "liger-2023", "trainer-2017"])
def test_a_stack_that_never_was_is_refused(text):
    with pytest.raises(QuestionError):
        stack_of(text)


def test_strategies_that_are_evaluated_more_often_are_named():
    fields = {"model": "Llama-3.1-8B", "samples": 50_000, "tokens_per_sample": 400, "gpu": "h100"}
    answer = estimate(Question(**fields, strategy=["lora", "qlora"]))
    times = {option["strategy"]: option["run"]["evaluations"] for option in answer["options"]}
    said = [line["text"] for line in answer["first_lines"] if "evaluated as often" in line["text"]]
    assert bool(said) == (abs(times["lora"] / times["qlora"] - 1) > 0.06)
