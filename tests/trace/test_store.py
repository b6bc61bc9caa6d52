"""Trace files: equal after a round trip, small, and never a wrong answer from a damaged file."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import MachineError, ProfileError
from planner.trace import store
from planner.trace.table import Operand, Signature, StepTrace, TraceFamily


def small_trace() -> StepTrace:
    product = Signature(
        "aten.mm.default",
        (Operand((1, 0), "bfloat16"), Operand((0, 0), "bfloat16", "t")),
        (Operand((1, 0), "bfloat16"),),
        (("alpha", 1),),
    )
    return StepTrace(
        forms=np.array([[64, 0, 0, 0], [0, 0, 0, 1]]),
        monomials=("1", "B", "S", "BS"),
        signatures=(product,),
        op_signature=np.zeros(3, np.int32),
        op_phase=np.array([0, 3, 4], np.uint8),
        op_module=np.array([2, 0, 1], np.int32),
        sizes=(((0, 0), 2), ((1, 0), 2)),
        size=np.array([0, 1], np.int32),
        birth=np.array([-1, 0], np.int32),
        death=np.array([3, 1], np.int32),
        category=np.array([0, 3], np.uint8),
        storage_module=np.array([2, 1], np.int32),
        modules=("", "blocks", "blocks.0"),
        meta={"model": "tiny"},
        domain={"B": (2, None), "S": (1, 100)},
    )


def test_round_trip():
    again = store.loads(store.dumps(TraceFamily((small_trace(),)))).traces[0]
    first = small_trace()
    assert (
        again.signatures == first.signatures
        and again.sizes == first.sizes
        and again.domain == first.domain
        and again.meta == first.meta
    )
    for name in (
        "forms",
        "op_signature",
        "op_phase",
        "op_module",
        "size",
        "birth",
        "death",
        "category",
        "op_module",
        "storage_module",
    ):
        assert np.array_equal(getattr(again, name), getattr(first, name)), name


def test_evaluation_is_exact_and_broadcasts():
    trace = small_trace()
    dims = trace.dims(B=np.array([2, 3]), S=7)
    assert dims.tolist() == [[64, 64], [14, 21]]
    assert trace.storage_bytes(dims)[trace.size].tolist() == [
        [8192, 8192],
        [14 * 64 * 2, 21 * 64 * 2],
    ]
    assert trace.covers(B=2, S=100) and not trace.covers(B=1, S=7) and not trace.covers(B=2, S=101)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_files_are_refused(data):
    payload = bytearray(store.dumps(TraceFamily((small_trace(),))))
    if data.draw(st.booleans()):
        payload = payload[: data.draw(st.integers(0, len(payload) - 1))]
    else:
        position = data.draw(st.integers(0, len(payload) - 1))
        payload[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ProfileError):
        store.loads(bytes(payload))


def test_an_index_outside_its_table_is_refused():
    bad = small_trace()
    bad.op_signature[1] = 5
    with pytest.raises(ProfileError, match="outside its table"):
        store.loads(store.dumps(TraceFamily((bad,))))


def test_a_disk_that_refuses_is_one_line(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(MachineError, match="cannot keep the trace"):
        store.save(TraceFamily((small_trace(),)), blocked / "x.trace")
