"""Parts of a budget against the planner's own answers, and by hand."""

import importlib.util
import math
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.answer.estimate import estimate
from planner.budget.make import asked_in, budget_of_answer
from planner.budget.parts.accuracy import _alike, reported
from planner.budget.parts.closing import given_fields, reproduce
from planner.budget.schema import validated
from planner.cli import main
from planner.cost.repeats import Habits, extra_runs
from planner.figures import Estimate
from planner.question import Question

_spec = importlib.util.spec_from_file_location("budget_kinds", Path(__file__).with_name("kinds.py"))
kinds = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(kinds)


# ---------------------------------------------------------------- asked anew


def varied(kind, what):
    return next(one for one in kinds.document(kind)["budget"]["sensitivity"] if one["what"] == what)


def asked(kind, **update):
    """The same GPU and provider, with the update as a user asks it: (USD, hours)."""
    question, option = kinds.question(kind), recommended(kinds.document(kind))
    fields = {"strategy": [option["strategy"]], "provider": option["provider"], **update}
    found = estimate(question.model_copy(update=fields))
    other = next(one for one in found["options"] if one["variant"] == option["variant"])
    return other["cost"]["usd"]["p50"], other["run"]["wall_hours"]["p50"]


def recommended(document):
    return document["options"][document["budget"]["headline"]["option"]]


@pytest.mark.parametrize(
    "what, low, high",
    [
        ("Epochs", dict(epochs=1.5), dict(epochs=6.0)),
        ("Size of the data", dict(samples=10000), dict(samples=40000)),
        ("Length of a sample", dict(tokens_per_sample=150.0), dict(tokens_per_sample=266.0)),
        ("Number of GPUs", dict(gpus=1), dict(gpus=8)),
        ("Trials", dict(trials=2), dict(trials=6)),
        ("Runs that fail", dict(failed_share=0.1), dict(failed_share=0.3)),
    ],
)
def test_an_assumption_is_asked_anew(what, low, high):
    found = varied("language", what)
    for side, update in (("low", low), ("high", high)):
        usd, hours = asked("language", **update)
        assert found[f"usd_{side}"] == pytest.approx(usd, rel=1e-9)
        assert found[f"hours_{side}"] == pytest.approx(hours, rel=1e-9)


def test_runs_that_are_made_of_steps_are_varied_in_steps():
    found = varied("steps of Whisper", "Epochs")
    assert found["field"] == "max_steps" and found["low"].endswith("steps")
    assert found["usd_low"] < found["usd_high"]


def test_utilisation_spans_the_hours_of_the_run():
    wall = recommended(kinds.document("language"))["run"]["wall_hours"]
    found = varied("language", "Utilisation of the GPU")
    assert (found["hours_low"], found["hours_high"]) == pytest.approx((wall["p10"], wall["p90"]))
    rate = recommended(kinds.document("language"))["cost"]["usd_per_gpu_hour"]
    assert found["usd_high"] == pytest.approx(wall["p90"] * rate, rel=0.01)


def test_what_the_question_says_is_no_assumption():
    names = [
        one["what"]
        for one in kinds.document("encoder with labels, trials and storage")["budget"][
            "sensitivity"
        ]
    ]
    assert "Trials" not in names and "Runs that fail" not in names and "Epochs" in names


# ---------------------------------------------------------------- by hand


def test_labels_trials_and_storage_are_lines():
    budget = kinds.document("encoder with labels, trials and storage")["budget"]
    lines = {line["name"]: line for line in budget["lines"]}
    assert lines["Labels"]["quantity"] == 20000 and lines["Labels"]["usd"] == pytest.approx(1000)
    assert lines["Further trials"]["quantity"] == 2
    runs = sum(line["usd"] for line in budget["lines"] if line["unit"] == "GPU-hours")
    assert lines["Further trials"]["usd_per_unit"] == pytest.approx(runs)
    failed = extra_runs(3, 0.1).p50 - 2
    assert lines["Runs that fail"]["quantity"] == pytest.approx(failed)
    assert lines["Storage of data and checkpoint"]["unit"] == "GiB-months"


def test_tokens_are_lines_of_millions():
    budget = kinds.document("fine-tuning by a provider alone")["budget"]
    lines = {line["name"]: line for line in budget["lines"]}
    assert lines["Tokens trained on"]["unit"] == "million tokens"
    assert lines["Tokens trained on"]["quantity"] % 6 == pytest.approx(0)  # 20,000 × 300


@given(
    trials=st.integers(1, 50),
    failed=st.floats(0, 0.9),
    debug=st.floats(0, 100),
    idle=st.floats(0, 0.9),
    run=st.floats(0, 1e6),
    rate=st.floats(0, 100),
    fixed=st.floats(0, 1e5),
)
def test_parts_of_a_project_sum(trials, failed, debug, idle, run, rate, fixed):
    habits = Habits(trials, failed, debug, idle)
    parts = sum(usd for _, usd in habits.parts(run, rate).values())
    assert parts + fixed == pytest.approx(habits.usd(run, rate, fixed), rel=1e-9, abs=1e-9)


@given(
    middle=st.floats(1e-3, 1e6),
    below=st.floats(1.001, 20),
    above=st.floats(1.001, 20),
    chance=st.floats(0.01, 0.99),
)
def test_a_sum_is_exceeded_with_its_chance(middle, below, above, chance):
    bill = Estimate(middle / below, middle, middle * above)
    usd = bill.exceeded_with(chance)
    assert bill.chance_above(usd) == pytest.approx(chance, abs=1e-6)


def test_accuracy_falls_back_to_wider_kinds():
    runs, like = _alike("language model", "qlora")
    assert like == "runs of QLoRA, language model"
    assert {(one.modality, one.strategy) for one in runs} == {("language model", "qlora")}
    runs, like = _alike("text encoder", "distillation")
    assert {one.modality for one in runs} == {"text encoder"} and "none of them" in like
    runs, like = _alike("unheard of", "lora")
    assert len(runs) == len(reported()) and like.startswith("runs of any kind")


def test_accuracy_is_that_of_its_rows():
    found = kinds.document("images on two GPUs")["budget"]["accuracy"]
    rows = [one for one in reported() if one.modality == "image"]
    errors = sorted(abs(one.planned.p50 / one.hours - 1) for one in rows)
    assert found["runs"] == len(rows) == len(errors)
    middle = len(errors) // 2
    median = errors[middle] if len(errors) % 2 else (errors[middle - 1] + errors[middle]) / 2
    assert math.isclose(found["median_error"], median)


# ---------------------------------------------------------------- made again


HOSTILE = Question(
    model="a b'c",
    data='data "1".jsonl',
    strategy=["lora", "qlora"],
    text_columns=["question", "answer"],
    spot=True,
    cached_features=False,
    max_usd=12.5,
    deadline="2027-01-01T12:00:00",
    epochs=3,
)


@pytest.mark.parametrize(
    "question", [HOSTILE, *(kinds.question(kind) for kind in kinds.KINDS)], ids=str
)
def test_the_command_asks_the_same_question(question, monkeypatch):
    import sys
    import types

    found = []
    reports = types.ModuleType("planner.budget.make")
    reports.budget = lambda asked, progress: found.append(asked) or {"options": [], "question": {}}
    monkeypatch.setitem(sys.modules, "planner.budget.make", reports)
    command = shlex.split(reproduce(question, {})["command"])
    main.run(command[1:])
    assert len(found) == 1 and given_fields(found[0]) == given_fields(question)


@pytest.mark.parametrize("kind", ["language", "paid by the token"])
def test_the_line_of_python_asks_the_same_question(kind):
    line = kinds.document(kind)["budget"]["reproduce"]["python"]
    made = eval(line, {"estimate": lambda model, **fields: Question(model=model, **fields)})
    assert made == kinds.question(kind)


# ---------------------------------------------------------------- of an answer's file


def test_an_answer_that_holds_today_makes_the_whole_report():
    question = kinds.question("a price of one's own")
    found = budget_of_answer(estimate(question))
    whole = kinds.document("a price of one's own")
    assert found["budget"]["lines"] == whole["budget"]["lines"]
    assert found["budget"]["sensitivity"] == whole["budget"]["sensitivity"]
    assert asked_in(whole) == question.model_copy(update={"strategy": ["lora"]})


def test_an_answer_of_other_figures_shows_what_it_holds():
    answer = kinds.document("language")
    del answer["budget"]
    for option in answer["options"]:
        if option["run"]:
            for part in option["run"]["breakdown_hours"]:
                option["run"]["breakdown_hours"][part] *= 2
            for figure in ("wall_hours", "gpu_hours"):
                option["run"][figure] = {k: 2 * v for k, v in option["run"][figure].items()}
            for part in ("compute", "lost_work"):
                option["cost"]["usd"] = {
                    k: v + option["cost"]["breakdown"][part]
                    for k, v in option["cost"]["usd"].items()
                }
                option["cost"]["breakdown"][part] *= 2
    found = validated(budget_of_answer(answer))
    budget, option = found["budget"], recommended(found)
    total = sum(line["usd"] for line in budget["lines"])
    assert total == pytest.approx(option["cost"]["usd"]["p50"], rel=1e-9)
    assert not budget["sensitivity"] and not budget["offers"] and budget["time"]
    assert any("answered otherwise today" in text for text in budget["left_out"])
