"""The two clocks and the efficiencies: parts sum, more work never costs less, grids agree with
their points."""

from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from handmade_traces import make
from hypothesis import example, given, settings

from planner.devices.lookup import resolve_device
from planner.devices.priors import prior
from planner.devices.specification import all_devices
from planner.errors import ProfileError, QuestionError
from planner.operations.products import ProductPriors, product_seconds
from planner.step_time.clock import StepClock
from planner.step_time.host import HostTime
from planner.step_time.walks import SETTLING_STEPS, STRETCHES, walk
from planner.trace.table import Operand, Signature

A100, H100, T4 = (resolve_device(name).spec for name in ("a100-sxm-80", "h100-sxm", "t4"))
BS, H, W = 2, 3, 4  # forms of handmade_traces: B·S, 64, 4096


def op(name, inputs, outputs, **attrs) -> Signature:
    return Signature(name, tuple(inputs), tuple(outputs), tuple(sorted(attrs.items())))


def t(*shape, dtype="bfloat16", **more) -> Operand:
    return Operand(shape, dtype, **more)


SIGNATURES = (
    op("aten.mm.default", [t(BS, W), t(W, W, layout="t")], [t(BS, W)]),
    op("aten.silu.default", [t(BS, W)], [t(BS, W)]),
    op(
        "planner.attention.default",
        [t(1, H, 5, H)] * 3,
        [t(1, H, 5, H), t(1, H, 5, dtype="float32")],
        causal=True,
        dropout=0.0,
    ),
    op(
        "planner.attention_backward.default",
        [t(1, H, 5, H)] * 5 + [t(1, H, 5, dtype="float32")],
        [t(1, H, 5, H)] * 3,
        causal=True,
        dropout=0.0,
    ),
    op(
        "aten.native_layer_norm.default",
        [t(BS, W), t(W), t(W)],
        [t(BS, W), t(BS, 0, dtype="float32"), t(BS, 0, dtype="float32")],
    ),
    op("aten._foreach_mul_.Scalar", [t(W, W, count=20)], []),
    op("aten.view.default", [t(BS, W)], [t(BS, W)]),
    op("aten.mm.default", [t(W, BS, layout="t"), t(BS, W)], [t(W, W)]),
    op("mylib.strange.default", [t(BS, W)], [t(BS, W)]),
    op("aten._local_scalar_dense.default", [], []),
    op(
        "aten.convolution.default",
        [t(1, H, H, 5), t(H, H, 0, 0), t(H)],
        [t(1, H, H, 5)],
        groups=1,
        transposed=False,
    ),
    op(
        "aten.convolution_backward.default",
        [t(1, H, H, 5), t(1, H, H, 5), t(H, H, 0, 0)],
        [t(1, H, H, 5), t(H, H, 0, 0)],
        groups=1,
        transposed=False,
        output_mask=(True, True, False),
    ),
)
STEP = [
    (1, "forward"),
    (6, "forward"),
    (0, "forward"),
    (2, "forward"),
    (4, "forward"),
    (10, "forward"),
    (0, "recompute"),
    (0, "backward"),
    (7, "backward"),
    (3, "backward"),
    (11, "backward"),
    (5, "optimizer"),
    (5, "optimizer"),
]


def trace(operations):
    return make(operations, [], [((0,), 1)], SIGNATURES)


OPERATIONS = st.tuples(
    st.lists(st.sampled_from([0, 1, 2, 4, 6, 8, 9, 10]), min_size=1, max_size=40),
    st.lists(st.sampled_from([0, 1, 3, 6, 7, 11]), max_size=40),
    st.lists(st.just(5), max_size=4),
).map(
    lambda parts: (
        [(1, "forward")]
        + [
            (s, phase)
            for part, phase in zip(parts, ("forward", "backward", "optimizer"))
            for s in part
        ]
    )
)


def price(step, device=A100, precision="bf16", compiled=False, **point):
    return StepClock(device).price(step, step.dims(**point), precision=precision, compiled=compiled)


@settings(max_examples=60, deadline=None)
@given(OPERATIONS, st.integers(1, 64), st.integers(1, 512))
def test_the_parts_sum(operations, batch, length):
    got = price(trace(operations), B=batch, S=length)
    assert got.seconds == pytest.approx(
        got.forward_seconds + got.backward_seconds + got.optimizer_seconds
    )
    assert sum(got.by_kind.values()) == pytest.approx(got.device_busy_seconds)
    assert got.seconds >= max(got.device_busy_seconds, got.host_seconds) * (1 - 1e-9)
    assert got.seconds <= got.device_busy_seconds + got.host_seconds + 1e-3
    assert 0 <= got.unmodelled_share <= 1
    assert got.model_flops <= got.hardware_flops


@settings(max_examples=60, deadline=None)
# the depth passes a slice's
@example([(1, "forward"), (0, "forward"), (11, "backward")], 2, 3, 1, 0)
@given(OPERATIONS, st.integers(1, 64), st.integers(1, 512), st.integers(1, 16), st.integers(0, 200))
def test_more_tokens_never_cost_less(operations, batch, length, more_batch, more_length):
    step = trace(operations)
    small, large = (
        price(step, B=batch, S=length),
        price(step, B=batch + more_batch, S=length + more_length),
    )
    assert large.seconds >= small.seconds * (1 - 1e-9)
    assert large.device_busy_seconds >= small.device_busy_seconds * (1 - 1e-9)


@settings(max_examples=40, deadline=None)
@given(OPERATIONS, st.integers(1, 64), st.integers(1, 512), st.floats(1, 4), st.floats(1, 4))
def test_a_faster_device_is_never_slower(operations, batch, length, rate, bandwidth):
    faster = replace(
        A100,
        peak_flops={k: v * rate for k, v in A100.peak_flops.items()},
        memory_bandwidth_bytes_per_s=A100.memory_bandwidth_bytes_per_s * bandwidth,
    )
    step = trace(operations)
    assert price(step, faster, B=batch, S=length).seconds <= price(
        step, A100, B=batch, S=length
    ).seconds * (1 + 1e-9)


@settings(max_examples=30, deadline=None)
@given(OPERATIONS)
def test_a_grid_agrees_with_its_points(operations):
    step = trace(operations)
    batches, lengths = np.arange(1, 21)[:, None], np.array([[1, 16, 100, 512]])
    grid = price(step, B=batches, S=lengths)
    assert grid.seconds.shape == (20, 4)
    for i, j in ((0, 0), (19, 3), (7, 2), (3, 1)):
        single = price(step, B=int(batches[i, 0]), S=int(lengths[0, j]))
        assert grid.seconds[i, j] == pytest.approx(single.seconds, rel=0.02)
        assert grid.model_flops[i, j] == single.model_flops
        assert grid.device_busy_seconds[i, j] == pytest.approx(single.device_busy_seconds)


def test_a_long_trace_in_stretches_stays_close_to_the_walk():
    rng = np.random.default_rng(0)
    step = trace(
        [(int(s), "forward") for s in rng.choice([0, 1, 2, 4, 6, 8], 20 * STRETCHES)]
        + [(int(s), "backward") for s in rng.choice([0, 1, 3, 7], 20 * STRETCHES)]
    )
    batches = np.arange(1, 101)
    grid = price(step, B=batches, S=64)
    for i in (0, 3, 10, 40, 99):
        assert grid.seconds[i] == pytest.approx(
            price(step, B=int(batches[i]), S=64).seconds, rel=0.05
        )


def test_the_walk_by_hand():
    """Host 10 each; kernels of 25, 5, a wait, 5. Device: 10..35, 35..40; the host waits until 40,
    then 40+2, launches at 52."""
    host = HostTime(
        np.array([10.0, 10.0, 1.0, 10.0]),
        np.array([True, True, False, True]),
        np.array([2]),
        2.0,
        0.0,
    )
    ends, clock, end = walk(host, np.array([25.0, 5.0, 0.0, 5.0]), 0.0, 0.0)
    assert ends.tolist() == [35.0, 40.0, 40.0, 57.0]
    assert (clock, end) == (52.0, 57.0)


def naive_walk(host, device, clock, end):
    ends, waits = [], set(host.waits.tolist())
    for i, seconds in enumerate(device):
        clock += host.seconds[i]
        if i in waits:
            clock = max(clock, end) + host.wait_seconds
        elif host.launches[i]:
            end = max(end, clock) + seconds
        ends.append(end)
    return ends, clock, end


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.floats(0, 1), st.sampled_from(["launch", "view", "wait"])),
        min_size=1,
        max_size=40,
    )
)
def test_the_walk_equals_one_operation_after_another(rows):
    seconds, device, what = (list(c) for c in zip(*rows))
    device = np.array([d if w == "launch" else 0.0 for d, w in zip(device, what)])
    host = HostTime(
        np.array(seconds),
        np.array([w == "launch" for w in what]),
        np.flatnonzero([w == "wait" for w in what]),
        0.1,
        0.0,
    )
    ends, clock, end = walk(host, device, 0.3, 0.2)
    expected = naive_walk(host, device, 0.3, 0.2)
    assert (
        np.allclose(ends, expected[0])
        and clock == pytest.approx(expected[1])
        and end == pytest.approx(expected[2])
    )
    assert SETTLING_STEPS >= 1


def test_small_batches_are_bound_by_the_host_and_large_ones_by_the_device():
    step = trace([(s, "forward") for s in (1, 6, 2, 8)] * 40)
    assert price(step, H100, B=1, S=1).bound == "host"
    assert price(step, H100, B=64, S=512).bound == "device"


def test_recomputation_is_work_but_not_the_models():
    got = price(trace(STEP), B=4, S=64)
    assert got.hardware_flops - got.model_flops == 2 * 4 * 64 * 4096 * 4096


def test_nothing_beats_the_datasheet():
    for device in all_devices():
        if (
            not device.is_cuda_like
            or device.peak("fp32") is None
            or device.memory_bandwidth_bytes_per_s is None
        ):
            continue
        precision = "bf16" if "bf16" in device.peak_flops else "fp32"
        got = price(trace(STEP), device, precision, B=16, S=512)
        best = max(device.peak_flops.get("bf16", 0), device.peak_flops["fp32"])
        assert got.hardware_flops / got.device_busy_seconds < best


def test_fp32_products_use_tensor_cores_only_when_allowed():
    step = make(
        [(0, "forward")],
        [],
        [((0,), 1)],
        (
            op(
                "aten.mm.default",
                [t(BS, W, dtype="float32"), t(W, W, dtype="float32")],
                [t(BS, W, dtype="float32")],
            ),
        ),
    )
    plain, tf32 = (price(step, A100, p, B=64, S=128).device_busy_seconds for p in ("fp32", "tf32"))
    assert plain > 4 * tf32


def test_compilation_saves_host_time_and_traffic():
    step = trace(STEP * 10)
    eager, compiled = (price(step, compiled=c, B=8, S=512) for c in (False, True))
    assert (
        compiled.host_seconds < eager.host_seconds
        and compiled.device_busy_seconds < eager.device_busy_seconds
    )
    assert compiled.by_kind["matmul"] == eager.by_kind["matmul"]


def test_a_type_without_a_sourced_peak_is_refused():
    with pytest.raises(QuestionError, match="no sourced"):
        price(trace([(0, "forward")]), replace(A100, peak_flops={}), B=1, S=1)


def test_given_device_times_replace_the_datasheet():
    step = trace(STEP)
    given_seconds = np.full(len(SIGNATURES), 1e-3)
    got = StepClock(A100).price(
        step, step.dims(B=2, S=8), precision="bf16", device_seconds=given_seconds
    )
    assert got.device_busy_seconds == pytest.approx(1e-3 * len(STEP))


def test_a_rank_16_product_is_bound_by_memory():
    priors = ProductPriors(0.9, 64, ((128, 128, 1.0), (64, 32, 0.5)), 0.8, 0.0)
    moved = 2 * (65536 * 4096 + 4096 * 16 + 65536 * 16)
    seconds = product_seconds(
        1,
        65536,
        16,
        4096,
        moved_bytes=moved,
        flops_per_s=989e12,
        bytes_per_s=3.3e12,
        multiprocessors=132,
        priors=priors,
    )
    assert seconds == pytest.approx(moved / (3.3e12 * 0.8))


def test_priors_pick_the_most_particular_row():
    assert prior(A100, "product_tensor", "ceiling") == 0.81
    assert prior(H100, "product_tensor", "ceiling") == 0.80
    assert prior(A100, "elementwise", "bandwidth_share") == prior(A100, "any", "bandwidth_share")
    with pytest.raises(ProfileError, match="no colour"):
        prior(T4, "matmul", "colour")
