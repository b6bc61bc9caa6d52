"""Batches without padding: samples of a micro-batch one after the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from planner import Question
from planner.answer.estimate import estimate
from planner.datasets.batching import pad
from planner.errors import QuestionError

DATA = "profiles/examples/support_tickets.jsonl"


def asked(**more):
    return Question(
        model="Llama-3.2-1B",
        data=DATA,
        gpu="l4",
        strategy="lora",
        offline=True,
        **more,
    )


@pytest.mark.parametrize("sigma", [0.3, 0.8])
@pytest.mark.parametrize("size", [1, 2, 4, 16])
def test_the_longest_batch_is_the_largest_mean_of_drawn_ones(sigma, size):
    draw = np.random.default_rng(0)
    lengths = np.exp(draw.normal(5.5, sigma, 3000)).clip(5, 2048).round()
    found = pad(lengths, len(lengths), size, 2048, whole=True, padding="free")
    whole = len(lengths) // size * size
    means = [draw.permutation(lengths)[:whole].reshape(-1, size).mean(1).max() for _ in range(200)]
    # the mean of 200 epochs' largest: its own error, and lengths that are rounded to 1 in 2,048
    error = 4 * np.std(means) / np.sqrt(len(means)) + 2
    assert found.longest == pytest.approx(np.mean(means), abs=error)
    assert found.padded == found.real == pytest.approx(lengths.sum())


@given(
    some.lists(some.integers(1, 4000), min_size=1, max_size=60),
    some.integers(1, 32),
    some.one_of(some.none(), some.integers(1, 3000)),
)
def test_no_padding_never_costs_more_than_padding(lengths, size, limit):
    own = np.array(lengths)
    free, longest = (
        pad(own, len(own), size, limit, whole=True, padding=name) for name in ("free", "longest")
    )
    assert free.mean_padded <= longest.mean_padded * (1 + 1e-9)
    assert free.padded <= longest.padded * (1 + 1e-9) and free.longest <= longest.longest
    assert free.truncated_share == longest.truncated_share


def test_it_costs_less_and_is_said():
    document = estimate(asked(padding="free", micro_batch=4, gradient_checkpointing="full"))
    (option,) = document["options"]
    plain = estimate(asked(micro_batch=4, gradient_checkpointing="full"))["options"][0]
    assert option["training"]["padding"] == "free"
    assert any("without padding" in line["text"] for line in document["first_lines"])
    assert option["step"]["seconds"]["p50"] < plain["step"]["seconds"]["p50"]
    memory = [o["memory"]["allocated_bytes"]["p50"] for o in (option, plain)]
    assert memory[0] < memory[1]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"attention": "eager"}, "no lengths within a row"),
        ({"group_by_length": True}, "nothing to gain"),
    ],
)
def test_what_does_not_go_with_it_is_refused(more, words):
    with pytest.raises(QuestionError, match=words):
        estimate(asked(padding="free", **more))


def test_other_tasks_are_refused():
    with pytest.raises(QuestionError, match="decoders that write text"):
        estimate(
            Question(model="bert-base-uncased", data=DATA, padding="free", gpu="l4", offline=True)
        )
