"""Binding a trace to a number of classes: figures by hand, and the same arithmetic by two ways."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import QuestionError
from planner.trace import store
from planner.trace.bind import bind, is_free
from planner.trace.table import PER_CLASS, Operand, Signature, StepTrace, TraceFamily, value_of

WIDTH = 64
#: Forms at B samples and C classes: the width, B, C, the logits in a row, scales of scales.
FORMS = np.array(
    [
        [WIDTH, 0, 0, 0, 0],
        [0, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 0, 1, 0],
        [0, 0, 0, 0, 1],
        [1, 0, 2, 0, 0],
    ]
)


def head() -> StepTrace:
    """A head's product, an optimizer's list of ten tensors, and a cross-entropy's flat logits."""
    product = Signature(
        "aten.mm.default",
        (Operand((1, 0), "bfloat16"), Operand((0, 2), "bfloat16", "t")),
        (Operand((1, 2), "bfloat16"),),
        (("size", (3, 0)), (PER_CLASS + "size", (0, 1))),
    )
    update = Signature(
        "aten._foreach_add_.List",
        (
            Operand((0, 0), "float32", count=8),
            Operand((2, 0), "float32"),
            Operand((5, 0), "float32"),
        ),
        (),
    )
    return StepTrace(
        forms=FORMS,
        monomials=("1", "B", "C", "BC", "C*64/16384"),
        signatures=(product, update),
        op_signature=np.array([0, 1], np.int32),
        op_phase=np.array([0, 4], np.uint8),
        op_module=np.zeros(2, np.int32),
        sizes=(((2, 0), 4), ((3,), 2), ((4,), 4), ((0, 0), 4)),
        size=np.array([0, 1, 2, 3], np.int32),
        birth=np.array([-1, 0, -1, -1], np.int32),
        death=np.array([2, 1, 2, 2], np.int32),
        category=np.array([0, 3, 0, 0], np.uint8),
        storage_module=np.zeros(4, np.int32),
        modules=("",),
        meta={"total_params": 1000, "per_class": {"total_params": 65}, "own_classes": 2},
        domain={"B": (2, None), "C": (2, None)},
    )


def test_figures_by_hand():
    bound = bind(head(), 10)
    assert bound.monomials == ("1", "B") and bound.domain == {"B": (2, None)}
    dims = bound.dims(B=3)
    assert bound.storage_bytes(dims)[bound.size].tolist() == [10 * 64 * 4, 3 * 10 * 2, 4, 64 * 256]
    assert bound.meta["total_params"] == 1000 + 65 * 10 and "per_class" not in bound.meta
    assert bound.signatures[0].attr("size") == (3, 10)
    assert is_free(head()) and not is_free(bound)


def test_a_share_is_rounded_up():
    assert [value_of("C*64/16384", {"C": n}) for n in (2, 256, 257)] == [1, 1, 2]
    bound = bind(head(), 257)
    assert bound.dims(B=2)[bound.sizes[bound.size[2]][0][0]] == 2


def test_what_is_equal_at_that_number_is_one():
    """As a recording finds it: at 64 classes the head's weight is one of nine equal ones."""
    update = bind(head(), WIDTH).signatures[1]
    assert [operand.count for operand in update.inputs] == [9, 1]
    assert [operand.count for operand in bind(head(), 10).signatures[1].inputs] == [8, 1, 1]
    assert bind(head(), WIDTH).sizes == (((0, 0), 4), ((2,), 2), ((3,), 4))


def test_a_trace_without_classes_stays():
    plain = bind(head(), 10)
    again = bind(plain, 99)
    assert again.forms.tolist() == plain.forms.tolist() and again.sizes == plain.sizes
    assert again.signatures == plain.signatures and again.meta == plain.meta


def test_an_unbound_trace_asks_for_its_classes():
    with pytest.raises(QuestionError, match="needs C"):
        head().dims(B=2)


@settings(max_examples=100, deadline=None)
@given(
    forms=st.lists(st.lists(st.integers(0, 5), min_size=4, max_size=4), min_size=6, max_size=6),
    classes=st.integers(2, 10**4),
    batch=st.integers(2, 512),
)
def test_bound_or_given_the_bytes_are_the_same(forms, classes, batch):
    rows = np.array([[*row, int(i == 4)] for i, row in enumerate(forms)])
    trace = replace(head(), forms=rows)
    read = store.loads(store.dumps(TraceFamily((trace,)))).traces[0]
    bound = bind(read, classes)
    expected = trace.storage_bytes(trace.dims(B=batch, C=classes))[trace.size]
    assert bound.storage_bytes(bound.dims(B=batch))[bound.size].tolist() == expected.tolist()
