"""Every moment of a run belongs to one phase."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.real.stamps import PHASES, Stamps


def ticking(*moments):
    times = iter(moments)
    return lambda: next(times)


def test_phases_within_phases_belong_to_the_innermost():
    # from 10: start until 12, training until 20 with an evaluation of 3 in it, the end at 21
    stamps = Stamps(10.0, ticking(12.0, 14.0, 17.0, 20.0, 21.0))
    with stamps.phase("training"), stamps.phase("evaluation"):
        pass
    document = stamps.closed()
    assert document["seconds"] == {
        "preparation": 0.0,
        "start_up": 3.0,
        "training": 5.0,
        "evaluation": 3.0,
        "saving": 0.0,
    }
    assert [name for _, name in document["events"]] == [
        "start_up",
        "training",
        "evaluation",
        "training",
        "start_up",
    ]
    assert (document["began"], document["until"]) == (10.0, 21.0)


def test_a_phase_that_fails_ends():
    stamps = Stamps(0.0, ticking(1.0, 3.0, 4.0))
    with pytest.raises(KeyError), stamps.phase("saving"):
        raise KeyError
    assert stamps.closed()["seconds"]["saving"] == 2.0


def test_steps_are_timed_one_by_one():
    stamps = Stamps(0.0, ticking(1.0, 1.5, 2.0, 4.0))
    for _ in range(2):
        stamps.step_begins()
        stamps.step_ends()
    assert stamps.steps == [0.5, 2.0]


def test_no_such_phase():
    with pytest.raises(ValueError, match="lunch"), Stamps(0.0).phase("lunch"):
        pass


@given(st.lists(st.sampled_from([*PHASES, "leave"]), max_size=30))
def test_phases_sum_to_the_clock(walk):
    stamps = Stamps(0.0, ticking(*itertools.accumulate([0.5] * 200)))
    depth = 0
    for word in walk:
        if word != "leave":
            stamps.enter(word)
            depth += 1
        elif depth:
            stamps.leave()
            depth -= 1
    document = stamps.closed()
    assert sum(document["seconds"].values()) == document["until"] - document["began"]
    moments = [moment for moment, _ in document["events"]]
    assert moments == sorted(moments)
