"""The expected padding against enumeration, and its properties."""

from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.datasets import DatasetProfile, from_counts
from planner.datasets.batching import expected_max, longest
from planner.errors import QuestionError

lengths = st.lists(st.integers(1, 5000), min_size=1, max_size=60)


def profile(values, samples=None, targets=None):
    return DatasetProfile(
        "text",
        samples or len(values),
        np.array(values, dtype=np.int64),
        None if targets is None else np.array(targets),
        sampled=len(values),
    )


@pytest.mark.parametrize("draws", [1, 2, 3, 5])
def test_expected_max_equals_enumeration(draws):
    values = np.array([2.0, 3.0, 3.0, 11.0, 40.0])
    without = [max(c) for c in combinations(values, draws)]
    with_replacement = [max(c) for c in product(values, repeat=draws)]
    assert expected_max(values, draws, whole=True) == pytest.approx(np.mean(without))
    assert expected_max(values, draws, whole=False) == pytest.approx(np.mean(with_replacement))


def test_expected_max_stays_exact_for_many_records():
    values = np.arange(1.0, 100_001.0)
    # E[max of n of 1..N without replacement] = n(N+1)/(n+1)
    assert expected_max(values, 64, whole=True) == pytest.approx(64 * 100_001 / 65, rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(lengths, st.integers(1, 80), st.booleans())
def test_padding_lies_between_mean_and_max_and_grows_with_the_batch(values, size, sampled):
    data = profile(values, len(values) * 7 if sampled else None)
    plans = [data.batches(n) for n in (size, size + 1)]
    mean, top = np.mean(values), max(values)
    for plan in plans:
        assert mean - 1e-6 <= plan.mean_padded_length <= top + 1e-6
        assert plan.tokens_per_epoch <= plan.padded_tokens_per_epoch + 1e-6
        assert plan.longest_length >= top
    assert plans[0].mean_padded_length <= plans[1].mean_padded_length + 1e-6


@settings(max_examples=60, deadline=None)
@given(lengths, st.integers(1, 6000), st.integers(1, 9))
def test_truncation(values, limit, size):
    plan = profile(values).batches(size, max_length=limit)
    cut = np.minimum(values, limit)
    assert plan.longest_length == cut.max()
    assert plan.tokens_per_epoch == pytest.approx(cut.sum())
    assert plan.truncated_share == pytest.approx(np.mean(np.array(values) > limit))


@settings(max_examples=60, deadline=None)
@given(lengths, st.integers(1, 6000), st.integers(1, 9))
def test_packing_conserves_tokens(values, limit, size):
    plan = profile(values).batches(size, padding="packed", max_length=limit)
    assert plan.tokens_per_epoch == pytest.approx(sum(values))
    assert 0 <= plan.padded_tokens_per_epoch - plan.tokens_per_epoch < limit
    assert plan.padded_tokens_per_epoch == plan.samples_per_epoch * limit
    assert plan.micro_batches_per_epoch == -(-plan.samples_per_epoch // size)


@settings(max_examples=40, deadline=None)
@given(lengths, st.integers(1, 9))
def test_padded_tokens_of_an_epoch_are_those_of_its_batches(values, size):
    """The last, smaller micro-batch is counted as what it is."""
    plan = profile(values).batches(size)
    ordered, size = np.sort(values).astype(float), min(size, len(values))
    full, rest = divmod(len(values), size)
    parts = full * size * expected_max(ordered, size, whole=True) + (
        rest * expected_max(ordered, rest, whole=True) if rest else 0
    )
    assert plan.padded_tokens_per_epoch == pytest.approx(parts)


def test_max_padding_fills_every_sample():
    plan = profile([5, 10, 700]).batches(2, padding="max", max_length=512)
    assert (plan.longest_length, plan.mean_padded_length, plan.padded_tokens_per_epoch) == (
        512,
        512.0,
        3 * 512,
    )
    assert plan.tokens_per_epoch == 5 + 10 + 512


def test_targets_have_their_own_figures():
    plan = profile([10, 20], targets=[3, 9]).batches(2, max_length=8)
    assert (plan.longest_length, plan.target_longest_length, plan.target_mean_padded_length) == (
        8,
        8,
        8.0,
    )
    assert plan.target_tokens_per_epoch == 3 + 8 and plan.target_truncated_share == 0.5


def test_longest_of_a_sample_is_extrapolated_and_covers_the_tail():
    rng = np.random.default_rng(0)
    everything = rng.exponential(300, 400_000)
    seen = np.sort(everything[:2000])
    guess = longest(seen, len(everything), None, whole=False)
    assert guess > seen[-1] and guess == pytest.approx(everything.max(), rel=0.35)
    assert longest(seen, len(everything), 2000, whole=False) <= 2000


def test_counts_are_a_point_mass():
    data = from_counts(1000, 350, 40)
    plan = data.batches(8)
    assert (plan.longest_length, plan.mean_padded_length, plan.micro_batches_per_epoch) == (
        350,
        350.0,
        125,
    )
    assert plan.tokens_per_epoch == 350_000 and plan.target_tokens_per_epoch == 40_000
    assert len(data.assumptions) == 2 and not plan.longest_is_extrapolated


def test_images_have_no_lengths():
    plan = from_counts(10, modality="image").batches(4)
    assert (plan.micro_batches_per_epoch, plan.longest_length, plan.tokens_per_epoch) == (
        3,
        None,
        None,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        dict(micro_batch=0),
        dict(micro_batch=1, padding="packed"),
        dict(micro_batch=1, padding="max"),
        dict(micro_batch=1, padding="none"),
        dict(micro_batch=1, max_length=0),
    ],
)
def test_senseless_batches_are_refused(arguments):
    with pytest.raises(QuestionError):
        profile([1, 2, 3]).batches(**arguments)


@pytest.mark.parametrize("arguments", [(0,), (5, -1), (5, float("nan")), (5, 1, 1, "smell")])
def test_senseless_counts_are_refused(arguments):
    with pytest.raises(QuestionError):
        from_counts(*arguments)


@settings(max_examples=40, deadline=None)
@given(lengths, st.integers(1, 400), st.integers(1, 2000))
def test_targets_are_padded_to_the_longest_of_their_own(values, size, limit):
    """A target of a few words is not stretched to the length that inputs are padded to."""
    targets = np.maximum(1, np.array(values) // 7)
    both = replace(profile(values), target_lengths=targets)
    plan = both.batches(size, padding="max", max_length=limit)
    assert plan.longest_length == limit
    assert plan.target_longest_length == min(limit, targets.max())
    assert plan.target_padded_tokens_per_epoch == plan.target_longest_length * len(values)
    given_one = both.batches(size, padding="max", max_length=limit, target_max_length=9)
    assert given_one.target_longest_length == 9
