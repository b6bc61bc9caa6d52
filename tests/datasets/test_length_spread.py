"""Lengths of which only a mean is given: a log-normal, cut where lengths are cut."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import planner
from planner import Question
from planner.datasets.batching import Spread, published_spread, quantile, spread_lengths
from planner.datasets.profile import from_counts

SPREAD = Spread(0.6, "given")


def test_quantiles_are_those_of_a_log_normal():
    """By hand: the median of mean 400 and 0.6 is 400·exp(-0.18) = 334.1, the 90th percentile
    334.1·exp(0.6·1.2816) = 720.8."""
    lengths, _ = spread_lengths(400, 0.6, 10**6, None)
    assert np.median(lengths) == pytest.approx(334.1, rel=0.01)
    assert np.quantile(lengths, 0.9) == pytest.approx(720.8, rel=0.01)
    assert quantile(400, SPREAD, 0.9) == pytest.approx(720.8, rel=1e-3)
    assert lengths.mean() == pytest.approx(400)


def test_a_batch_of_two_pads_to_the_expected_larger():
    """The larger of two log-normals has the mean m·(1 + erf(sigma/2)): 1 + erf(0.3) = 1.3286."""
    plan = from_counts(10**6, 400, spread=SPREAD).batches(2)
    assert plan.mean_padded_length == pytest.approx(400 * (1 + math.erf(0.3)), rel=0.005)
    assert plan.tokens_per_epoch == pytest.approx(400e6)


def test_the_longest_is_that_of_all_samples():
    """Of 1,000 samples the score of 1 - 1/2000 is 3.29: 334.1·exp(0.6·3.29) = 2,405."""
    few, many = (from_counts(n, 400, spread=SPREAD).batches(2) for n in (1000, 10**6))
    assert few.longest_length == pytest.approx(2405, rel=0.01)
    assert many.longest_length > 1.5 * few.longest_length
    assert from_counts(10**6, 400, spread=SPREAD, limit=1024).batches(2).longest_length == 1024


def test_without_spread_every_sample_has_the_mean():
    plan = from_counts(1000, 400).batches(8, max_length=512)
    assert (plan.longest_length, plan.mean_padded_length) == (400, 400)


@given(
    mean=st.floats(2, 5000),
    sigma=st.floats(0.01, 2),
    samples=st.integers(2, 10**7),
    limit=st.none() | st.integers(2, 10**5),
    batch=st.integers(1, 64),
)
@settings(max_examples=60, deadline=None)
def test_the_mean_stays_and_nothing_is_longer_than_the_limit(mean, sigma, samples, limit, batch):
    data = from_counts(samples, mean, spread=Spread(sigma, "given"), limit=limit)
    plan = data.batches(min(batch, samples), max_length=limit)
    if limit is None or mean < limit:
        rounded = 0.5 if data.spread is None else 1e-6 * mean
        assert data.mean_length == pytest.approx(mean, abs=rounded)
    if limit is not None:
        assert plan.longest_length <= limit
    assert plan.mean_padded_length <= plan.longest_length + 1e-6
    assert plan.mean_padded_length >= min(mean, limit or mean) - 0.5 - 1e-6


def test_a_task_takes_the_median_of_its_published_sets():
    assert published_spread("causal_lm").sigma_log == pytest.approx(0.525)
    assert published_spread("seq2seq_lm").sigma_log == 0.72
    assert 0.3 < published_spread("token_classification").sigma_log < 0.9
    assert "any task" in published_spread("token_classification").source


def asked(**more):
    fields = {"samples": 2000, "tokens_per_sample": 100, "strategy": ["fine_tune"], "gpu": "a10g"}
    fields |= {"micro_batch": 8, "offline": True}
    return planner.estimate(Question(model="gpt2", **(fields | more)))


def said(answer):
    return " ".join(line["text"] for line in answer["first_lines"])


def test_padding_costs_time_and_the_longest_costs_memory():
    spread, flat = asked(), asked(length_spread=0)
    assert "--max-length, --length-spread change it" in said(spread)
    assert "spread as" not in said(flat)
    first, second = (answer["options"][0] for answer in (spread, flat))
    training = [option["run"]["breakdown_hours"]["training"] for option in (first, second)]
    assert training[0] > 1.2 * training[1]
    assert first["memory"]["reserved_bytes"]["p50"] > second["memory"]["reserved_bytes"]["p50"]
    tokens = [answer["options"][0]["run"]["tokens_per_epoch"] for answer in (spread, flat)]
    assert tokens[0] == pytest.approx(tokens[1])


@pytest.mark.parametrize(
    "fixed",
    [{"padding": "max"}, {"padding": "packed"}, {"tokens_per_sample": 256}, {"length_spread": 0}],
)
def test_fixed_lengths_do_not_spread(fixed):
    answer = asked(max_length=256, **fixed)
    assert "spread as" not in said(answer)


def test_the_spread_has_no_effect_on_counted_data(tmp_path):
    file = tmp_path / "texts.jsonl"
    file.write_text('{"text": "some words of a short text"}\n' * 50)
    answer = planner.estimate(
        Question(model="gpt2", data=str(file), length_spread=1, gpu="a10g", offline=True)
    )
    assert any("--length-spread has no effect" in line["text"] for line in answer["first_lines"])


def test_the_command_says_the_spread_and_the_project(capsys):
    from planner.cli import main

    asked = ("--samples", "2000", "--tokens-per-sample", "100", "--gpu", "a10g", "--offline")
    code = main.run(
        ["estimate", "gpt2", *asked, "--strategy", "fine_tune", "--length-spread", "0.4"]
    )
    out = " ".join(capsys.readouterr().out.split())
    assert code == 0
    assert (
        "lengths spread as 0.4 (standard deviation of their logarithm, from --length-spread)" in out
    )
    assert "the project as people run it $" in out


def test_a_spread_that_makes_no_sense_is_one_line(capsys):
    from planner.cli import main

    code = main.run(
        ["estimate", "gpt2", "--samples", "9", "--tokens-per-sample", "9", "--length-spread", "-1"]
    )
    said = capsys.readouterr().err.strip()
    assert code == 2 and "--length-spread" in said and len(said.splitlines()) == 1
