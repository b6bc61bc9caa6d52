"""Reasons speak of strategies that were asked for; words of one fact agree on the screen."""

import io

import pytest

from planner import tables
from planner.answer.estimate import estimate
from planner.answer.recommend import advised
from planner.report.formats.terminal import show
from planner.report.views.option import fits
from planner.report.views.summary.asked import asked, run_of
from planner.report.views.summary.estimate import table

ALL = ("feature_extraction", "partial_fine_tune", "fine_tune", "lora", "qlora", "scratch")
CLASSIFIED = {"samples": 20_000, "tokens_per_sample": 80, "classes": 4, "gpu": "l4"}


@pytest.fixture(scope="module")
def both():
    return estimate("roberta-large", strategy=["lora", "fine_tune"], **CLASSIFIED)


def reasons(*strategies):
    return {s: r.text for s, r in advised("text_classification", 10**8, 9000, strategies)}


@pytest.mark.parametrize("alone", ["lora", "qlora", "partial_fine_tune", "feature_extraction"])
def test_a_reason_speaks_of_no_strategy_that_was_not_asked_for(alone):
    assert "first of the ways asked for" in reasons(alone)[alone]
    assert "first of the ways asked for" not in reasons(*ALL)[alone]


def test_every_reason_about_others_has_one_without_them():
    for row in tables.rows("rules", "recommendation.csv"):
        assert bool(row["says_of"]) == bool(row["of_those_asked"])
        assert row["strategy"] not in row["says_of"].split()
        if "not fit" in row["reason"] or "nothing else" in row["reason"]:
            assert row["says_of"]


def test_an_answer_of_lora_alone_says_nothing_of_full_tuning():
    answer = estimate("roberta-large", strategy=["lora"], **CLASSIFIED)
    assert "Full fine-tuning" not in answer["recommended"]["why"]


def test_different_batches_have_a_column(both):
    batches = {option["training"]["global_batch_size"] for option in both["options"]}
    titles = [column.title for column in table(both, None).columns]
    assert len(batches) > 1 and "Batch" in titles
    one = estimate("roberta-large", strategy=["lora"], **CLASSIFIED)
    assert "Batch" not in [column.title for column in table(one, None).columns]


@pytest.mark.parametrize(
    ("found", "verdict", "word"),
    [(True, "fits", "yes"), (False, "tight", "perhaps"), (False, "does not fit", "no")],
)
def test_what_may_fit_is_not_called_no(found, verdict, word):
    assert fits({"fits": found, "memory": {"verdict": verdict}}) == word


def test_parameters_are_shown_under_any_task():
    answer = estimate(
        "bert-base-uncased",
        task="token_classification",
        samples=500,
        tokens_per_sample=60,
        gpu="t4",
        strategy=["fine_tune"],
    )
    option = answer["options"][0]
    assert answer["model"]["parameters"] == option["model"]["total_params"]
    assert "(109M parameters)" in asked(answer, run_of(option))
    screen = io.StringIO()
    show(answer, screen, brief=True)
    assert "109M parameters" in screen.getvalue()
