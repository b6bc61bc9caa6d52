"""One device's memory of a sharded step, beside torch's own simulation of FSDP2."""

import pytest

from benchmarks.sharded_memory import TINY, Asked, planned, simulated


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("devices", "wide", "length"), [(2, False, 64), (8, True, 64), (8, False, 4), (2, True, 4)]
)
def test_the_peak_is_that_of_torchs_tracker(devices, wide, length):
    asked = Asked(TINY, 2, length, devices, wide, checkpointed=length == 64)
    theirs, ours = simulated(asked), planned(asked)
    assert ours.total == pytest.approx(theirs.total, rel=0.01)
    assert ours.own == pytest.approx(theirs.own, rel=0.01)
    if length == 64:  # else the peak is in the update, whose moments torch counts as states
        assert ours.gathered == pytest.approx(theirs.gathered, rel=0.01)
        assert ours.optimizer == pytest.approx(theirs.optimizer, rel=0.01)
