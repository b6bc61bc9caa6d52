"""Zero-bubble schedules: in torch's own orders, with the bubbles of their paper."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributed.pipelining import schedules

from planner.parallel.model.schedule import schedule_seconds
from planner.parallel.model.zero_bubble import ZB_H1, ZBV, F, I, W, held, order, played, rank_of

LETTERS = {"FORWARD": F, "BACKWARD_INPUT": I, "BACKWARD_WEIGHT": W}
TORCHS = {ZB_H1: schedules.ScheduleInterleavedZeroBubble, ZBV: schedules.ScheduleZBVZeroBubble}


def torchs(schedule, rank, ranks, micro_batches, chunks):
    """The order of torch's class, which needs no process group to say it."""
    made = object.__new__(TORCHS[schedule])
    made.pp_group_size, made.n_local_stages, made._n_microbatches = ranks, chunks, micro_batches
    made.num_stages = ranks * chunks
    made.number_of_rounds = max(1, micro_batches // ranks)
    made.microbatches_per_round = micro_batches // made.number_of_rounds
    found = made._calculate_single_rank_operations(rank)
    return [
        (a.stage_index, LETTERS[a.computation_type.name], a.microbatch_index) for a in found if a
    ]


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("rounds", [1, 2, 5])
@pytest.mark.parametrize(("schedule", "chunks"), [(ZB_H1, 1), (ZB_H1, 2), (ZB_H1, 3), (ZBV, 2)])
def test_the_order_is_torchs(schedule, chunks, ranks, rounds):
    for rank in range(ranks):
        ours = [tuple(one) for one in order(schedule, rank, ranks, rounds * ranks, chunks)]
        assert ours == torchs(schedule, rank, ranks, rounds * ranks, chunks)


def equal(schedule, ranks, micro_batches, f, i, w, chunks=1, send=0.0):
    each = (f,) * ranks, (i + w,) * ranks, (w,) * ranks
    return played(schedule, *each, micro_batches, chunks, send)


@pytest.mark.parametrize("ranks", [2, 4, 8])
@pytest.mark.parametrize("micro_batches", [16, 40])
def test_the_bubbles_are_the_papers(ranks, micro_batches):
    """Table 1 of arXiv 2401.10241: (p - 1)(F + B - W) under ZB-H1; none under ZB-V where the three
    parts take the same, but for the forward pass of half a model through the first ranks."""
    whole = 3.0 * micro_batches
    bubble = equal(ZB_H1, ranks, micro_batches, 1.0, 1.0, 1.0) - whole
    assert bubble == pytest.approx((ranks - 1) * 1.0)
    plain = schedule_seconds((1.0,) * ranks, (2.0,) * ranks, micro_batches) - whole
    assert plain == pytest.approx(3 * (ranks - 1))
    of_v = equal(ZBV, ranks, micro_batches, 1.0, 1.0, 1.0, chunks=2) - whole
    assert 0 <= of_v <= (ranks - 1) / 2 + 1e-9 < bubble


@settings(max_examples=60, deadline=None)
@given(
    ranks=st.integers(2, 6),
    rounds=st.integers(1, 5),
    f=st.floats(0.2, 2),
    i=st.floats(0.2, 2),
    share=st.floats(0.1, 1),
    send=st.floats(0, 0.2),
)
def test_it_is_never_slower_than_1f1b_on_equal_ranks(ranks, rounds, f, i, share, send):
    w, micro_batches = share * min(f, i), rounds * ranks
    plain = schedule_seconds((f,) * ranks, (i + w,) * ranks, micro_batches, 1, send)
    assert equal(ZB_H1, ranks, micro_batches, f, i, w, 1, send) <= plain + 1e-9


@settings(max_examples=40, deadline=None)
@given(
    schedule=st.sampled_from([(ZB_H1, 1), (ZB_H1, 2), (ZBV, 2)]),
    ranks=st.integers(1, 6),
    rounds=st.integers(1, 4),
    seconds=st.lists(st.floats(0.1, 3), min_size=3, max_size=3),
)
def test_no_rank_is_faster_than_its_own_work(schedule, ranks, rounds, seconds):
    name, chunks = schedule
    f, i, w = seconds
    took = equal(name, ranks, rounds * ranks, f, i, w, chunks)
    assert took >= rounds * ranks * (f + i + w) - 1e-9


@pytest.mark.parametrize(("schedule", "chunks"), [(ZB_H1, 1), (ZB_H1, 2), (ZBV, 2)])
def test_every_part_runs_once_and_in_time(schedule, chunks):
    ranks, micro_batches = 4, 8
    every = [one for r in range(ranks) for one in order(schedule, r, ranks, micro_batches, chunks)]
    assert len(every) == len(set(every)) == 3 * ranks * chunks * micro_batches
    for rank in range(ranks):
        mine = order(schedule, rank, ranks, micro_batches, chunks)
        assert all(rank_of(schedule, one.stage, ranks) == rank for one in mine)
        at = {one: n for n, one in enumerate(mine)}
        for one in mine:
            if one.part != F:
                before = I if one.part == W else F
                assert at[one._replace(part=before)] < at[one]


@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_every_rank_holds_as_much_as_the_first_of_1f1b(ranks):
    for rank in range(ranks):
        assert held(ZB_H1, rank, ranks, 4 * ranks) == ranks
        assert held(ZBV, rank, ranks, 4 * ranks, 2) <= ranks
