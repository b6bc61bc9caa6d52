"""Recorded operations beside a trace's: a longest common subsequence, phase by phase."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.calibrate.kineto.order import common, may_be_same

NAMES = st.lists(st.sampled_from("abcd"), max_size=40)


def longest(a, b):
    """The usual table."""
    row = [0] * (len(b) + 1)
    for x in a:
        last, row = row, [0]
        for place, y in enumerate(b):
            row.append(last[place] + 1 if x == y else max(row[-1], last[place + 1]))
    return row[-1]


@given(NAMES, NAMES)
def test_pairs_are_equal_ascending_and_as_many_as_can_be(a, b):
    pairs = common(a, b)
    assert all(a[i] == b[j] for i, j in pairs)
    assert all(i < k and j < m for (i, j), (k, m) in zip(pairs, pairs[1:]))
    assert len(pairs) == longest(a, b)


def test_thousands_of_operations_take_a_moment_and_equal_ones_match_one_by_one():
    names = ["mm", "add", "gelu", "mul", "norm"] * 800
    assert common(names, names) == [(i, i) for i in range(len(names))]
    assert len(common(names, names[7:])) == len(names) - 7


@pytest.mark.parametrize(
    "recorded, ours, same",
    [(17, 17, True), (34, 17, True), (17, 74, False), (25, 17, False), (0, 9, False), (9, 0, False),
     (70, 74, True)],
)  # fmt: skip
def test_another_models_products_are_told_and_micro_batches_are_not_another(recorded, ours, same):
    assert may_be_same(recorded, ours) is same
