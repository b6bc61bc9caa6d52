"""One moment for one answer: looked at once inside, anew outside; and what is kept of arrays is
what would be worked out again."""

import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner import tables
from planner.cost.prices.tables import user_folder as folder_of_prices
from planner.datasets.batching import pad, spread_lengths
from planner.datasets.by_array import kept_by_array
from planner.devices.profile import user_folder as folder_of_devices
from planner.errors import QuestionError
from planner.moment import once, one_moment
from planner.question.stack import stack_of
from planner.today import today


def test_inside_a_moment_a_look_is_taken_once():
    looks = iter(range(10))
    assert [once("a", lambda: next(looks)) for _ in range(2)] == [0, 1]
    with one_moment():
        assert [once("a", lambda: next(looks)) for _ in range(3)] == [2, 2, 2]
        with one_moment():
            assert once("a", lambda: next(looks)) == 2
        assert once("b", lambda: next(looks)) == 3
    assert once("a", lambda: next(looks)) == 4


def test_what_a_look_raises_is_not_kept():
    def look():
        raise QuestionError("no")

    with one_moment():
        for _ in range(2):
            with pytest.raises(QuestionError):
                once("a", look)
        assert once("a", lambda: 1) == 1


def test_the_next_answer_sees_another_day_and_other_folders(monkeypatch, tmp_path):
    for day, name in ((3, "one"), (4, "two")):
        monkeypatch.setenv("PLANNER_TODAY", f"2026-05-0{day}")
        monkeypatch.setenv("PLANNER_PRICES", str(tmp_path / name))
        monkeypatch.setenv("PLANNER_DEVICES", str(tmp_path / name))
        with one_moment():
            assert today() == datetime.date(2026, 5, day)
            assert folder_of_prices() == folder_of_devices() == tmp_path / name


def test_a_stack_is_judged_by_the_day_that_is_asked(monkeypatch):
    monkeypatch.setenv("PLANNER_TODAY", "2026-05-03")
    assert stack_of("trainer-2026-05").day == "2026-05"
    monkeypatch.setenv("PLANNER_TODAY", "2026-04-30")
    with pytest.raises(QuestionError, match="no versions"):
        stack_of("trainer-2026-05")


LENGTHS = st.lists(st.integers(1, 5000), min_size=1, max_size=60)


@given(
    lengths=LENGTHS,
    other=LENGTHS,
    samples=st.integers(1, 500),
    size=st.integers(1, 64),
    limit=st.none() | st.integers(1, 4000),
    padding=st.sampled_from(["longest", "max"]),
    step=st.none() | st.integers(1, 128),
    whole=st.booleans(),
)
def test_a_kept_padding_is_the_padding(lengths, other, samples, size, limit, padding, step, whole):
    arrays = np.array(lengths), np.array(other), np.array(lengths)
    samples = max(samples, 60) if not whole else len(lengths)

    def asked(work, array):
        records = len(array) if whole else samples
        return work(array, records, size, limit, whole=whole, padding=padding, step=step)

    for _ in range(2):
        for array in arrays:
            assert asked(pad, array) == asked(pad.__wrapped__, array)


def test_an_array_is_itself_alone():
    calls = []

    @kept_by_array
    def total(array, times):
        calls.append(times)
        return float(array.sum()) * times

    one, alike = np.array([1, 2]), np.array([1, 2])
    assert [total(one, 2), total(one, 2), total(alike, 2), total(one, 3)] == [6, 6, 6, 9]
    assert calls == [2, 2, 3]
    assert [total(np.array([n]), 1) for n in range(5)] == [0, 1, 2, 3, 4]


@given(
    mean=st.floats(2, 3000),
    sigma=st.floats(0.01, 1.5),
    samples=st.integers(2, 300),
    limit=st.none() | st.integers(2, 8000),
)
def test_kept_lengths_are_the_lengths(mean, sigma, samples, limit):
    made = spread_lengths(mean, sigma, samples, limit)
    anew = spread_lengths.__wrapped__(mean, sigma, samples, limit)
    assert np.array_equal(made[0], anew[0]) and made[1] == anew[1]


def test_shipped_tables_do_not_change_under_an_answer():
    """Rows are kept for the life of the process, which is why what is read of them may be too."""
    assert tables.rows("prices", "terms", "billing.csv") is tables.rows(
        "prices", "terms", "billing.csv"
    )
