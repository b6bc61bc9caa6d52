"""Memory through a step: the same bytes as the replay, told by category at every event."""

import numpy as np
from handmade_traces import make, traces
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.memory.history import history
from planner.memory.peak import replay
from planner.trace.table import CATEGORIES

POINT = {"B": 3, "S": 5}


@settings(max_examples=150, deadline=None)
@given(traces(), st.integers(1, 5))
def test_it_is_the_replay_event_by_event(trace, accumulation):
    seen = history(trace, POINT, accumulation=accumulation, workspace=(4096,))
    peak = replay(trace, POINT, accumulation=accumulation, workspace=(4096,))
    assert seen.moment.allocated_bytes == peak.allocated_bytes
    assert seen.reserved_bytes == peak.reserved_bytes
    held = np.zeros(len(CATEGORIES), dtype=np.int64)
    category = np.where(seen.storage < 0, 4, trace.category[np.maximum(seen.storage, 0)])
    np.add.at(held, category, seen.moment.block_bytes)
    assert dict(zip(CATEGORIES, held.tolist())) == dict(peak.breakdown)
    if len(seen.block_bytes):
        assert (seen.level_bytes >= 0).all()
        assert (seen.level_bytes.sum(axis=1) == seen.levels).all()
        assert seen.levels.max() <= peak.allocated_bytes
        if peak.phase != "before":
            assert seen.levels.max() == peak.allocated_bytes


def test_a_step_by_hand():
    """4096 B of weights, an activation of 3 × 5 floats from the first operation to the second,
    a gradient of 512 B from the second on."""
    trace = make(
        [(0, "forward"), (0, "backward"), (0, "optimizer")],
        [(0, -1, 3, "weights"), (1, 0, 1, "activations"), (2, 1, 3, "gradients")],
        [((4,), 1), ((2,), 4), ((3, 3), 1)],
    )
    seen = history(trace, POINT)
    # forms: 4 → 4096, 2 → B·S = 15, 3 → 64
    assert seen.before_bytes.tolist() == [4096, 0, 0, 0, 0]
    assert seen.block_bytes.tolist() == [512, 4096, -512, -4096]
    assert seen.operation.tolist() == [0, 1, 1, 3]
    assert [CATEGORIES[c] for c in seen.category] == [
        "activations",
        "gradients",
        "activations",
        "gradients",
    ]
    assert seen.levels.max() == seen.moment.allocated_bytes == 4096 + 512 + 4096


def test_micro_batches_are_told_apart():
    trace = make(
        [(0, "forward"), (0, "backward"), (0, "optimizer")],
        [(1, 0, 1, "activations"), (2, 1, 3, "gradients")],
        [((4,), 1), ((2,), 4), ((3, 3), 1)],
    )
    assert set(history(trace, POINT, accumulation=1).micro_batch.tolist()) == {0}
    assert set(history(trace, POINT, accumulation=2).micro_batch.tolist()) == {0, 1}
    assert set(history(trace, POINT, accumulation=9).micro_batch.tolist()) == {0, 1, 2}
