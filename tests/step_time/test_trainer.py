"""What a trainer adds to a step: by hand on a small trace, and its properties."""

import hypothesis.strategies as st
import numpy as np
import pytest
from handmade_traces import make
from hypothesis import given

from planner.devices.lookup import resolve_device
from planner.operations.clipping import clipping
from planner.operations.registry import cost, kind_of
from planner.step_time.clock import StackKernels, StepClock
from planner.step_time.trainer import (
    Priced,
    TrainerWork,
    as_run,
    without_update,
)
from planner.trace.table import PHASES, Operand, Signature

_OPTIMIZER = PHASES.index("optimizer")
SIGNATURES = (
    Signature("aten.mul.Tensor", (Operand((4, 4), "float32"),), (Operand((4, 4), "float32"),)),
    Signature("aten._foreach_add_.List", (Operand((4, 4), "float32", count=6),), ()),
)
SIZES = (((4, 4), 4), ((3,), 4))
#: Forward, backward twice, the update; three gradients of 4,096 × 4,096 and one of 64.
TRACE = make(
    [(0, "forward"), (0, "backward"), (0, "backward"), (1, "optimizer")],
    [
        (0, -1, 4, "weights"),
        *[(0, 1, 4, "gradients")] * 3,
        (1, 2, 4, "gradients"),
        (0, 1, 2, "gradients"),  # gone before the update: none of those that are clipped
    ],
    SIZES,
    SIGNATURES,
)
DIMS = TRACE.dims(B=2, S=8)
WORK = TrainerWork(True, True, 1e-3, 2e-3)


def priced(trace=TRACE, device="a100-sxm-80") -> Priced:
    return Priced(StepClock(resolve_device(device).spec), trace, trace.dims(B=2, S=8), "fp32")


def test_clipping_reads_every_gradient_twice_and_writes_it_once():
    norm, *small, scaled = clipping(TRACE)
    assert norm.op.startswith("aten._foreach_norm") and scaled.op.startswith("aten._foreach_mul_")
    assert sorted((o.shape, o.count) for o in norm.inputs) == [((3,), 1), ((4, 4), 3)]
    assert scaled.inputs == norm.inputs and norm.outputs[0].count == 4
    assert all(kind_of(signature.op).runs_kernel for signature in (norm, *small, scaled))
    elements = 3 * 4096 * 4096 + 64
    done = cost(norm, DIMS)
    assert done.read_bytes == 4 * elements and done.write_bytes == 4 * 4
    done = cost(scaled, DIMS)
    assert (done.read_bytes, done.write_bytes) == (4 * elements, 4 * elements)


def test_operations_stand_before_the_update_and_lifetimes_move_with_theirs():
    whole = as_run(TRACE, WORK)
    added = whole.op_count - TRACE.op_count
    names = [whole.signatures[i].op for i in whole.op_signature]
    assert names[3:5] == ["aten._local_scalar_dense.default"] * 2
    assert names[-1] == "aten._foreach_add_.List" and added == 2 + len(clipping(TRACE))
    assert (whole.death[TRACE.death == 4] == 4 + added).all()
    assert (whole.birth[TRACE.birth >= 0] == TRACE.birth[TRACE.birth >= 0]).all()
    bare = as_run(TRACE, TrainerWork())
    assert bare.signatures == whole.signatures  # so that each is priced once
    assert (bare.op_signature == TRACE.op_signature).all() and (bare.death == TRACE.death).all()


def test_an_accumulated_micro_batch_is_the_step_without_its_update():
    alone = without_update(as_run(TRACE, WORK))
    assert not (alone.op_phase == _OPTIMIZER).any()
    assert alone.op_count == 5 and alone.death.max() == 5  # the loss is read each time


def test_clipping_takes_its_traffic_at_the_memorys_speed():
    """Three passes over 201 MB of gradients on an A100 of 2.0 TB/s at 75 %: 0.4 ms."""
    bare, clipped = (priced().seconds(TrainerWork(clips=c), 1) for c in (False, True))
    spec = resolve_device("a100-sxm-80").spec
    moved = 3 * 4 * (3 * 4096 * 4096 + 64)
    expected = moved / (spec.bandwidth_bytes_per_s("datasheet") * 0.75)
    assert clipped - bare == pytest.approx(expected, rel=0.25)


def test_a_trainer_that_reads_the_loss_pays_its_own_host_time():
    """The device stands still while the host does what it does between two steps."""
    reading = TrainerWork(False, True, 0.0, 50e-3)
    free = TrainerWork(False, False, 0.0, 50e-3)
    assert priced().seconds(reading, 1) >= 50e-3
    assert priced().seconds(reading, 1) >= priced().seconds(free, 1)


@given(
    st.booleans(),
    st.booleans(),
    st.floats(0, 1e-2),
    st.floats(0, 1e-2),
    st.integers(1, 6),
    st.sampled_from(["a100-sxm-80", "t4"]),
)
def test_a_trainers_work_never_shortens_a_step(clips, reads, micro, update, accumulation, device):
    bare = priced(device=device).seconds(TrainerWork(), accumulation)
    some = priced(device=device).seconds(TrainerWork(clips, reads, micro, update), accumulation)
    more = priced(device=device).seconds(
        TrainerWork(clips, True, micro * 2, update * 2), accumulation
    )
    assert bare <= some * (1 + 1e-9) and some <= more * (1 + 1e-9)


def test_fused_kernels_leave_their_share_of_what_is_no_product():
    spec = resolve_device("a100-sxm-80").spec
    plain, fused = (
        StepClock(spec, StackKernels(share)).price(TRACE, DIMS[:, None], precision="fp32")
        for share in (1.0, 0.45)
    )
    for kind, seconds in plain.by_kind.items():
        share = 0.45 if kind == "elementwise" else 1.0
        assert np.asarray(fused.by_kind[kind]) == pytest.approx(np.asarray(seconds) * share)
