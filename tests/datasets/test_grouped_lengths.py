"""Batches of records that are grouped by length: the exact expectation against Trainer's sampler,
drawn again and again."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from planner.datasets.profile import DatasetProfile, from_counts


def sampled_order(lengths, step, random):
    """``transformers.trainer_pt_utils.get_length_grouped_indices`` in numpy, without the first
    record of the longest part moved to the front."""
    times = max(1, min(len(lengths) // (step * 4), 50))
    order, part = random.permutation(len(lengths)), times * step
    parts = [order[at : at + part] for at in range(0, len(order), part)]
    return np.concatenate([one[np.argsort(-lengths[one], kind="stable")] for one in parts])


def simulated(lengths, micro_batch, step, draws, seed=0):
    """(mean padded length of full batches, its standard error), (tokens computed on, theirs)."""
    random, means, totals = np.random.default_rng(seed), [], []
    for _ in range(draws):
        ordered = lengths[sampled_order(lengths, step, random)]
        cut = [ordered[at : at + micro_batch] for at in range(0, len(ordered), micro_batch)]
        means.append(np.mean([one.max() for one in cut if len(one) == micro_batch]))
        totals.append(sum(one.max() * len(one) for one in cut))
    return tuple((np.mean(seen), np.std(seen, ddof=1) / np.sqrt(draws)) for seen in (means, totals))


def near(drawn, share):
    """What is drawn, give or take a share that the expectation may be off and five standard errors
    of the draws: at 200 of them, one of two million right expectations lies outside."""
    mean, error = drawn
    return pytest.approx(mean, rel=0, abs=share * mean + 5 * error)


def profile_of(lengths):
    made = from_counts(len(lengths), 10.0)
    return replace(made, lengths=np.asarray(lengths), sampled=len(lengths), longest_input=None)


@settings(max_examples=25, deadline=None)
@example(20, 4, 1, 20)  # 200 draws lie 1.2 % off: two and a half standard errors
@given(
    st.integers(20, 600),
    st.sampled_from([1, 2, 4, 7]),
    st.sampled_from([1, 2, 3]),
    st.integers(0, 10**6),
)
def test_the_expectation_is_that_of_the_sampler(records, micro_batch, accumulation, seed):
    random = np.random.default_rng(seed)
    lengths = np.ceil(random.lognormal(5, 0.7, records))
    step = micro_batch * accumulation
    plan = profile_of(lengths).batches(micro_batch, grouped_step=step)
    length, tokens = simulated(lengths, micro_batch, step, 200, seed)
    # where a part ends amid a batch, the sampler's next part fills it
    loose = 0.02 if records % step else 0.003
    assert plan.mean_padded_length == near(length, loose)
    assert plan.padded_tokens_per_epoch == near(tokens, loose)


def test_three_records_by_hand():
    """Lengths 1, 2, 3, 10 in one part: sorted 10, 3 | 2, 1, padded to 10 and 2."""
    plan = profile_of(np.array([1.0, 2, 3, 10])).batches(2, grouped_step=4)
    assert plan.mean_padded_length == pytest.approx(6)
    assert plan.padded_tokens_per_epoch == pytest.approx(2 * 10 + 2 * 2)
    # one record left over is the shortest
    plan = profile_of(np.array([1.0, 2, 3, 10, 20])).batches(2, grouped_step=2)
    assert plan.longest_length == 20


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 3000), min_size=2, max_size=400),
    st.integers(1, 9),
    st.integers(1, 5),
)
def test_grouping_never_pads_more(lengths, micro_batch, accumulation):
    """Of full batches; the shortest records may be left over for one that is not."""
    lengths = lengths[: max(micro_batch, len(lengths) // micro_batch * micro_batch)]
    lengths += [1] * (micro_batch - len(lengths))
    profile = profile_of(np.array(lengths, dtype=float))
    plain = profile.batches(micro_batch)
    grouped = profile.batches(micro_batch, grouped_step=micro_batch * accumulation)
    tiny = 1e-6 * plain.padded_tokens_per_epoch
    assert grouped.padded_tokens_per_epoch <= plain.padded_tokens_per_epoch + tiny
    assert grouped.padded_tokens_per_epoch >= grouped.tokens_per_epoch - tiny
    # memory is of the longest batch, which any order has
    assert grouped.longest_length == plain.longest_length
    assert grouped.tokens_per_epoch == plain.tokens_per_epoch


def test_a_sample_of_the_records_says_nearly_the_same():
    """Half of the records read: what they say of the whole is near to what all of them say."""
    lengths = np.ceil(np.random.default_rng(1).lognormal(5, 0.6, 20_000))
    whole = profile_of(lengths).batches(8, grouped_step=16).mean_padded_length
    half = replace(profile_of(lengths[::2]), samples=20_000)
    assert half.batches(8, grouped_step=16).mean_padded_length == pytest.approx(whole, rel=0.01)


def test_one_length_needs_no_grouping():
    plan = profile_of(np.full(100, 64.0)).batches(8, grouped_step=8)
    assert plan.mean_padded_length == 64 and isinstance(profile_of([1, 2]), DatasetProfile)


def test_packed_and_filled_batches_are_as_they_were():
    profile = profile_of(np.arange(1.0, 101.0))
    for padding in ("packed", "max"):
        plain = profile.batches(4, padding=padding, max_length=64)
        assert profile.batches(4, padding=padding, max_length=64, grouped_step=8) == plain
