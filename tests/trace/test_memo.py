"""What was worked out of a trace is kept with it, once each, and bounded."""

from dataclasses import replace

import numpy as np

from planner.devices.lookup import resolve_device
from planner.step_time.clock import EXACT_POINTS, KEPT_WORK, StepClock
from planner.trace.memo import Memo
from planner.trace.table import KEPT_TABLES, SMALL, Operand, Signature, StepTrace


def test_a_result_is_made_once_and_the_oldest_goes_first():
    memo, made = Memo(), []

    def result(key):
        return memo.of("squares", key, lambda: made.append(key) or key**2, most=2)

    assert [result(k) for k in (1, 2, 1, 3, 2, 1)] == [1, 4, 1, 9, 4, 1]
    assert made == [1, 2, 3, 1]  # the third put out the first
    assert memo.count("squares") == 2 and memo.count("cubes") == 0


def test_a_large_result_stands_alone_and_topics_do_not_meet():
    memo = Memo()
    for key in range(5):
        memo.of("a", key, lambda: None)
    memo.of("b", 0, lambda: "other")
    assert memo.of("a", 9, lambda: "large", alone=True) == "large"
    assert (memo.count("a"), memo.count("b")) == (1, 1)
    assert memo.of("a", 0, lambda: "again") == "again"  # None before: it had gone


def test_a_result_of_none_is_kept_too():
    memo, made = Memo(), []
    for _ in range(2):
        assert memo.of("a", 0, lambda: made.append(1)) is None
    assert made == [1]


def small_trace() -> StepTrace:
    """x × x, twice, over [B, S]."""
    x, none = Operand((0, 1), "float32"), np.zeros(0, dtype=np.int32)
    return StepTrace(
        forms=np.array([[1, 0], [0, 1]]),
        monomials=("B", "S"),
        signatures=(Signature("aten.mul.Tensor", (x, x), (x,)),),
        op_signature=np.zeros(2, dtype=np.int32),
        op_phase=np.array([0, 3], dtype=np.uint8),
        op_module=np.zeros(2, dtype=np.int32),
        sizes=(),
        size=none,
        birth=none,
        death=none,
        category=none.astype(np.uint8),
        storage_module=none,
        modules=("",),
    )


def test_a_trace_keeps_what_a_clock_asks_within_its_limit():
    trace = small_trace()
    clock = StepClock(resolve_device("t4").spec)
    for batch in range(1, 3 * KEPT_WORK):
        clock.price(trace, trace.dims(B=batch, S=8), precision="fp32")
    assert trace.memo.count("work") == KEPT_WORK
    grid = trace.dims(B=np.arange(1, 2 * EXACT_POINTS), S=8)
    clock.price(trace, grid, precision="fp32")
    assert trace.memo.count("work") == 1
    assert replace(trace, modules=("other",)).memo.count("work") == 0


def test_traces_of_the_same_signatures_share_what_each_does():
    trace = small_trace()
    dims = trace.dims(B=2, S=8)
    later = replace(trace, op_signature=trace.op_signature[:1], op_phase=trace.op_phase[:1])
    made = []

    def of(trace, at=dims, *key):
        parts = trace.by_signature("asked", at, *key)
        return [parts.of(signature, lambda: made.append(0)) for signature in trace.signatures]

    of(trace), of(later)
    assert len(made) == 1
    of(trace, trace.dims(B=3, S=8)), of(trace, dims, "another device")
    assert len(made) == 3
    # an equal trace, of signatures of its own, asks for itself; a large grid is worked out anew
    of(small_trace())
    grid = trace.dims(B=np.arange(1, 2 * SMALL), S=8)
    of(trace, grid), of(trace, grid)
    assert len(made) == 6
    for batch in range(1, 2 * KEPT_TABLES):
        of(trace, trace.dims(B=batch, S=9))
    assert trace.lineage.count("asked") == KEPT_TABLES


def test_a_shared_price_is_the_one_made_alone():
    """Of a trace priced on two devices, and of one cut of it afterwards."""
    shared, specs = small_trace(), [resolve_device(name).spec for name in ("t4", "h100-sxm")]
    for batch in (1, 2):
        for spec in specs:
            for trace, alone in (
                (shared, small_trace()),
                (replace(shared, modules=("cut",)), replace(small_trace(), modules=("cut",))),
            ):
                dims = trace.dims(B=batch, S=8)
                first = StepClock(spec).price(trace, dims, precision="fp32")
                second = StepClock(spec).price(alone, dims, precision="fp32")
                assert first.seconds == second.seconds
