"""Stacks: names, days, rows by day and trainer, refusals."""

import pytest

from planner import tables
from planner.errors import QuestionError
from planner.question.stack import Stack, stack_of, trainers


@pytest.mark.parametrize(
    ("text", "stack"),
    [
        (None, Stack("trainer")),
        ("trainer", Stack("trainer")),
        ("2022", Stack("trainer", 2022)),
        ("Trainer-2023-03", Stack("trainer", 2023, 3)),
        ("unsloth", Stack("unsloth")),
        ("loop-2021", Stack("loop", 2021)),
    ],
)
def test_a_stack_is_a_trainer_and_a_day(text, stack):
    assert stack_of(text) == stack


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("keras", "One of trainer"),
        ("any", "One of trainer"),
        ("trainer-1999", "2018"),
        ("trainer-2023-13", "with a month"),
        ("trainer-2023-00", "with a month"),
        ("trainer-2999", "A year from 2018"),
        ("trainer 2022 x", "One of trainer"),
        ("-", "One of trainer"),
    ],
)
def test_unknown_stacks_are_refused_in_one_line(text, words):
    with pytest.raises(QuestionError) as refusal:
        stack_of(text)
    assert words in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_later_month_of_this_year_is_refused_and_the_year_is_not(monkeypatch):
    monkeypatch.setenv("PLANNER_TODAY", "2025-03-15")
    assert stack_of("2025").day == "2025"
    assert stack_of("trainer-2025-03").months == 12 * 2025 + 2
    with pytest.raises(QuestionError):
        stack_of("trainer-2025-04")


@pytest.mark.parametrize(
    ("text", "key", "word"),
    [
        ("trainer-2024-04", "attention.bert", "eager"),
        ("trainer-2024-05", "attention.bert", None),  # transformers 4.41
        ("trainer-2024", "attention.bert", None),  # its middle
        ("trainer-2023", "attention.llama", "eager"),
        ("trainer-2023-12", "attention.llama", None),  # transformers 4.36
        ("trainer", "attention.llama", None),
        ("trainer-2026-06", "attention.t5", "eager"),
        ("trainer-2026-07", "attention.t5", None),
        ("trainer-2023-08", "optimizer", "adamw_hf"),
        ("trainer-2023-09", "optimizer", "adamw"),
        ("loop-2022", "optimizer", None),
        ("trainer-2023-02", "optimizer.adamw", "adamw_for_loop"),
        ("trainer-2023-03", "optimizer.adamw", None),
        ("trl-2025-06", "precision", "fp32"),
        ("trl-2025-07", "precision", "bf16"),
    ],
)
def test_rows_hold_from_their_first_month_to_their_last(text, key, word):
    assert stack_of(text).word(key) == word


def test_rows_of_the_trainer_it_runs_in_hold_where_it_has_none():
    assert Stack("unsloth").number("evaluation_batch") == Stack("trainer").number(
        "evaluation_batch"
    )
    assert Stack("unsloth").word("title") != Stack("trainer").word("title")
    assert Stack("loop").number("evaluation_batch") is None
    assert Stack("loop").number("max_grad_norm") == 0.0


def test_a_figure_has_its_rows_range():
    figure = Stack("trainer").figure("micro_batch_seconds")
    assert figure is not None and 0 < figure.p10 < figure.p50 < figure.p90
    assert Stack("loop").figure("no such key") is None


def test_every_trainer_has_a_title_and_what_it_runs_in_is_one():
    names = trainers()
    for row in tables.rows("stacks", "stacks.csv"):
        if row["key"] == "runs_in":
            assert row["word"] in names and row["word"] != row["trainer"]
    assert all(Stack(name).word("title") for name in names)
