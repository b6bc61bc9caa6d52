"""A misspelt name is guessed wherever names are, in Python as on the command line, in one line."""

import pytest

import planner
from planner.cli.main import run
from planner.errors import PlannerError, nearest
from planner.question import Question
from planner.question.fields import plain_types

COUNTS = {"model": "gpt2", "samples": 500, "tokens_per_sample": 100}


@pytest.mark.parametrize(
    "fields, says",
    [
        ({"strategy": "lroa"}, "Did you mean lora"),
        ({"optimizer": "adamv"}, "Did you mean adam"),
        ({"epoch": 3}, "Did you mean epochs"),
        ({"task": "causal-ml"}, "Did you mean causal_lm"),
        ({"samples": -1}, "samples: -1 must be at least 1"),
        ({"samples": None}, "no data"),
    ],
)
def test_a_question_is_refused_in_one_line(fields, says):
    with pytest.raises(PlannerError) as refused:
        Question(**{**COUNTS, **fields})
    assert says in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "fields, says",
    [
        ({"gpu": "h10"}, "Did you mean h100"),
        ({"provider": "lamda"}, "Did you mean lambda"),
        ({"gpu": "l4", "region": "us-eest-1"}, "Did you mean us-"),
        ({"gpu": "l4", "stack": "trainr"}, "Did you mean trainer"),
        ({"model": "gtp2"}, "Did you mean gpt2"),
        ({"epoch": 3}, "Did you mean epochs"),
    ],
)
def test_an_estimate_guesses_names(fields, says):
    asked = {**COUNTS, "strategy": "fine_tune", **fields}
    with pytest.raises(PlannerError, match=says):
        planner.estimate(asked.pop("model"), **asked)


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["completio"], "completion"),
        (["schema", "ansver"], "Did you mean answer"),
        (["completion", "bsh"], "Did you mean bash"),
        (["runs", "list", "--strategy", "lroa"], "Did you mean lora"),
        (["prices", "--region", "us-eest-1"], "Did you mean us-"),
        (["estimate", "gpt2", "--gup", "l4"], "--gpu"),
    ],
)
def test_the_command_line_guesses(arguments, says, capsys):
    assert run(arguments) == 2
    out, error = capsys.readouterr()
    assert out == "" and says in error and error.count("\n") == 1


def test_what_begins_so_comes_first():
    assert nearest("h10", ["h20", "a10", "h100-sxm", "h100"])[:2] == ["h100", "h100-sxm"]
    assert nearest("lorra", ["qlora", "lora"])[0] == "lora" and nearest("", ["a"]) == []


NUMBERS = [
    name for name, info in Question.model_fields.items() if float in plain_types(info.annotation)
]


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e400"])
def test_no_field_takes_what_is_no_finite_number(value):
    """Infinite dollars would come out of the answer as no JSON."""
    assert "lora_alpha" in NUMBERS and "max_usd" in NUMBERS
    for name in NUMBERS:
        for given in (value, float(value)):
            with pytest.raises(PlannerError, match="finite"):
                Question.model_validate({"model": "gpt2", "samples": 5, name: given})
