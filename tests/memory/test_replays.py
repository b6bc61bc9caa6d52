"""Replays that are kept are the replays that would be made again."""

from handmade_traces import traces
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.memory.peak import passes_within, replay
from planner.memory.replays import DISTINCT_ACCUMULATIONS, Replays

MIB = 2**20
POINTS = st.fixed_dictionaries({"B": st.integers(1, 40), "S": st.integers(1, 300)})


@settings(max_examples=40, deadline=None)
@given(
    trace=traces(),
    points=st.lists(POINTS, min_size=1, max_size=3),
    accumulations=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    limits=st.lists(st.integers(1, 600), min_size=1, max_size=3),
    workspace=st.sampled_from([(), (4 * MIB,), (4 * MIB, 4 * MIB)]),
)
def test_kept_replays_are_replays(trace, points, accumulations, limits, workspace):
    kept = Replays()
    for _ in range(2):
        for point in points:
            for accumulation in accumulations:
                how = {"accumulation": accumulation, "workspace": workspace}
                assert kept.peak(trace, point, **how) == replay(trace, point, **how)
                for limit in limits:
                    bytes_ = {**how, "limit_bytes": limit * MIB}
                    fits = replay(trace, point, **bytes_).fits
                    assert kept.within(trace, point, **bytes_) == fits
                    assert passes_within(trace, point, **bytes_) == fits


@settings(max_examples=30, deadline=None)
@given(trace=traces(), point=POINTS, more=st.integers(0, 4))
def test_further_micro_batches_change_no_peak(trace, point, more):
    """Why a step of many micro-batches needs no replay of its own."""
    few = replay(trace, point, accumulation=DISTINCT_ACCUMULATIONS)
    assert replay(trace, point, accumulation=DISTINCT_ACCUMULATIONS + more) == few
