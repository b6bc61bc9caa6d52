"""Batches that are grouped by length: what they spare, where it is the recipe's, and where the
field has no effect."""

import json

import pytest

from planner.answer.estimate import estimate
from planner.cli import main
from planner.errors import QuestionError
from planner.measure.measure import local
from planner.question import Question

COUNTS = {"samples": 5000, "tokens_per_sample": 300, "offline": True, "gpu": "a100-sxm-80"}
COUNTS |= {"price": 2, "micro_batch": 8, "global_batch": 16, "strategy": ["lora"]}


def ask(model="Llama-3.2-1B", **fields):
    answer = estimate(model, **COUNTS | fields)
    return answer["options"][0], [line["text"] for line in answer["first_lines"]]


def test_grouped_batches_pad_less_and_hold_as_much():
    (plain, _), (grouped, _) = ask(group_by_length=False), ask(group_by_length=True)
    assert "group_by_length" not in plain["training"]
    assert grouped["training"]["group_by_length"] is True
    # lengths spread as 0.53: the longest of 8 is about twice the mean
    assert plain["step"]["sequence_length"] > 550
    assert 300 < grouped["step"]["sequence_length"] < 330
    hours = [one["run"]["breakdown_hours"]["training"] for one in (grouped, plain)]
    assert 0.5 < hours[0] / hours[1] < 0.7
    # evaluated batches are grouped too, and the longest batch is as long
    evaluated = [one["run"]["breakdown_hours"]["evaluation"] for one in (grouped, plain)]
    assert evaluated[0] < evaluated[1]
    assert grouped["memory"]["device_used_bytes"] == plain["memory"]["device_used_bytes"]
    assert grouped["step"]["longest_length"] == plain["step"]["longest_length"]


def test_a_batch_of_one_pads_nothing():
    hours = [
        ask(group_by_length=asked, micro_batch=1)[0]["step"]["seconds"]["p50"]
        for asked in (True, False)
    ]
    assert hours[0] == hours[1]


def test_packed_and_filled_batches_know_no_groups():
    for padding in ("packed", "max"):
        option, _ = ask(group_by_length=True, padding=padding, max_length=512)
        assert "group_by_length" not in option["training"]


def test_a_recipe_that_groups_is_said_and_not_taken_for_granted():
    """scripts/finetune_guanaco_7b.sh of artidoro/qlora trains LLaMA-7B so."""
    option, lines = ask("Llama-2-7b", strategy=["qlora"])
    assert "group_by_length" not in option["training"]
    assert any("by length not taken over (--group-by-length)" in text for text in lines)
    for asked in (True, False):
        option, lines = ask("Llama-2-7b", strategy=["qlora"], group_by_length=asked)
        assert option["training"].get("group_by_length", False) is asked
        assert not any("not taken over" in text for text in lines)


def test_as_a_user_asks_it(capsys):
    command = ["estimate", "Llama-3.2-1B", "--samples", "5000", "--tokens-per-sample", "300"]
    command += ["--gpu", "a100-sxm-80", "--price", "2", "--strategy", "lora", "--offline"]
    command += ["--micro-batch", "8"]
    lengths = []
    for flag in ("--group-by-length", "--no-group-by-length"):
        assert main.run([*command, flag, "--json"]) == 0
        option = json.loads(capsys.readouterr().out)["options"][0]
        lengths.append(option["step"]["sequence_length"])
    assert lengths[0] < lengths[1]
    assert main.run([*command, "--group-by-length", "--details"]) == 0
    assert "grouped by length" in " ".join(capsys.readouterr().out.split())


def test_images_have_no_length():
    answer = estimate(
        "resnet50", samples=100, gpu="t4", price=1, strategy=["fine_tune"], group_by_length=True
    )
    said = [line["text"] for line in answer["first_lines"] if line["warning"]]
    assert any("--group-by-length has no effect" in text for text in said)


def test_a_measurement_groups_nothing():
    asked = Question(model="gpt2", samples=10, tokens_per_sample=10, group_by_length=True)
    with pytest.raises(QuestionError, match="group"):
        local(asked, "cpu")
