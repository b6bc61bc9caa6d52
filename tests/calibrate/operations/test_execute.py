"""Cases of real traces run, and what comes out has the recorded shapes and types: that is what
shows that operands and arguments were bound as the model called the operator."""

from functools import cache
from pathlib import Path

import pytest
import torch

from planner.calibrate.operations.backends import backend
from planner.calibrate.operations.binding import bind
from planner.calibrate.operations.execute import CannotRun, calls, copies_for, guarded, precision
from planner.calibrate.operations.tensors import make
from planner.errors import MachineError
from planner.operations.bench import Contents, Slot
from planner.operations.cases import case, case_of
from planner.trace import store
from planner.trace.bind import bind as bound
from planner.trace.recorder.dispatch_mode import _raw
from planner.trace.table import Operand

CLASSES = 10
TRACES = Path(__file__).parents[3] / "profiles" / "traces"
F32 = "float32"
#: Statistics that a processor keeps in the input's type, CUDA in float32.
OWN_TYPE = ("aten.native_layer_norm.default",)


@pytest.fixture(scope="module")
def cpu():
    return backend("cpu")


def tensors(result):
    if isinstance(result, torch.Tensor):
        return [result]
    return [t for r in result for t in tensors(r)] if isinstance(result, (list, tuple)) else []


def run(one, cpu):
    return calls(one, cpu, copies=1)[0]()


#: One shipped trace of each sort is run, told by the operations it holds.
SORTS = (
    "lora",
    "vit",
    "encoder",
    "convolution",
    "sequence_to_sequence",
    "masked",
    "mobile",
    "quantised",
)


@cache
def chosen_traces():
    """Of each sort the first that ships; looked for once, by who needs them."""
    marks = {
        "lora": lambda t: t.meta["recipe"]["strategy"] == "lora" and "aten.silu.default" in ops(t),
        "vit": lambda t: "vit" in t.meta["model"],
        "encoder": lambda t: "aten.tanh_backward.default" in ops(t),
        "convolution": lambda t: "aten.native_batch_norm_backward.default" in ops(t),
        "sequence_to_sequence": lambda t: "T" in t.symbols,
        "masked": lambda t: any(
            s.op == "planner.attention.default" and len(s.inputs) > 3 for s in t.signatures
        ),
        "mobile": lambda t: "aten.silu_.default" in ops(t),
        "quantised": lambda t: "planner.dequantize_4bit.default" in ops(t),
    }

    def ops(trace):
        return {s.op for s in trace.signatures}

    found = {}
    for file in sorted(TRACES.glob("*.trace")):
        trace = bound(store.load(file).traces[0], CLASSES)
        for name, mark in marks.items():
            if name not in found and mark(trace):
                found[name] = trace
        if len(found) == len(marks):
            break
    return found


def cases_of(trace, most_bytes=3_000_000):
    point = {s: {"B": 2, "S": 16, "T": 12}[s] for s in trace.symbols}
    point = {s: max(n, trace.domain.get(s, (1, None))[0]) for s, n in point.items()}
    dims = trace.dims(**point)
    every = [case_of(s, dims, "fp32") for s in trace.signatures]
    return [c for c in every if c.bytes < most_bytes]


#: DeBERTa fills its masks with the lowest number of float32, whatever its own type is.
TOO_LOW = "value cannot be converted to type c10::BFloat16 without overflow"


@pytest.mark.slow
@pytest.mark.parametrize("name", SORTS)
def test_operations_of_a_trace_run_and_give_what_was_recorded(name, cpu):
    ran, refused = 0, []
    for one in cases_of(chosen_traces()[name]):
        try:
            result = tensors(run(one, cpu))
        except CannotRun as reason:
            refused.append((one.signature.op, str(reason)))
            continue
        ran += 1
        got = [(tuple(t.shape), str(t.dtype).removeprefix("torch.")) for t in result]
        want = [(one.shape(o), o.dtype) for o in one.signature.outputs for _ in range(o.count)]
        assert got or not want, one.signature
        # Fused kernels' side results (row sums, masks) are torch's own business.
        assert got[:1] == want[:1], one.signature
        assert [s for s, _ in got] == [s for s, _ in want[: len(got)]], one.signature
        if one.signature.op not in OWN_TYPE:
            assert got == want[: len(got)], one.signature
    assert ran > 15
    assert {why for _, why in refused} <= {"bitsandbytes is not installed", TOO_LOW}, refused


def test_every_sort_of_trace_is_shipped():
    assert set(chosen_traces()) == set(SORTS)


@pytest.mark.parametrize(
    "shape, layout, expanded",
    [
        ((3, 5), "c", ()),
        ((3, 5), "t", ()),
        ((2, 3, 5), "t", ()),
        ((2, 3, 5, 7), "cl", ()),
        ((2, 3, 5, 7), "s", ()),
        ((2, 1, 5, 7), "s", ()),
        ((2, 5, 7), "s", ()),
        ((6,), "s", ()),
        ((2, 3, 4), "s", (0,)),
        ((2, 3), "s", (0, 1)),
        ((2, 3, 4, 5, 6), "s", ()),
    ],
)
def test_tensors_lie_as_the_trace_says(shape, layout, expanded):
    slot = Slot("x", Operand(shape, F32, layout, expanded), shape)
    tensor = make(slot, Contents(), torch.device("cpu"))
    assert _raw(tensor)[:4] == (shape, F32, layout, expanded)
    assert torch.isfinite(tensor).all() and tensor.float().std() > 0 or expanded


def test_a_mask_has_aligned_rows():
    tensor = make(
        Slot("mask", Operand((2, 1, 9, 9), "bfloat16", "s"), (2, 1, 9, 9)),
        Contents(),
        torch.device("cpu"),
    )
    assert tensor.stride(-1) == 1 and tensor.stride(-2) % 16 == 0 and tensor.shape == (2, 1, 9, 9)


def test_lists_that_were_counted_together_come_apart(cpu):
    one = case(
        "aten._foreach_addcmul_.Scalar", [((4, 3), F32, "c", 6), ((5,), F32, "c", 9)], value=0.5
    )
    named = bind(one).named
    lists = [named[n] for n in ("self", "tensor1", "tensor2")]
    assert [[s.shape for s in members] for members in lists] == [[(4, 3)] * 2 + [(5,)] * 3] * 3
    assert named["value"] == 0.5
    run(one, cpu)


def test_lists_of_mixed_types_come_apart():
    one = case("aten._foreach_copy_.default", [((4,), "bfloat16", "c", 2), ((4,), F32, "c", 2)])
    named = bind(one).named
    assert [s.operand.dtype for s in named["self"]] == ["bfloat16"] * 2
    assert [s.operand.dtype for s in named["src"]] == [F32] * 2


def test_lists_that_do_not_come_apart_are_refused():
    with pytest.raises(CannotRun, match="3 equal lists"):
        bind(case("aten._foreach_addcmul_.Scalar", [((4, 3), F32, "c", 4)], value=0.5))


def test_a_missing_argument_is_refused_not_guessed():
    with pytest.raises(CannotRun, match="dim"):
        bind(case("aten.gather.default", [((4, 5), F32), ((4, 2), "int64")], [((4, 2), F32)]))
    with pytest.raises(CannotRun, match="no operation"):
        bind(case("aten.no_such_thing.default", [((4,), F32)]))


@pytest.mark.parametrize(
    "indices, values, places",
    [([(7,)], (7, 5, 6), 1), ([(7,), (7,)], (7, 6), 2), ([(3, 2)], (3, 2, 5, 6), 1)],
)
def test_index_tensors_stand_where_the_result_says(indices, values, places, cpu):
    one = case(
        "aten.index.Tensor", [((4, 5, 6), F32), *((i, "int64") for i in indices)], [(values, F32)]
    )
    assert len(bind(one).named["indices"]) == places
    assert run(one, cpu).shape == values


def test_an_index_on_a_later_dimension(cpu):
    one = case("aten.index.Tensor", [((4, 5, 6), F32), ((9,), "int64")], [((4, 5, 9), F32)])
    assert run(one, cpu).shape == (4, 5, 9)


def test_fused_optimizer_updates_its_parameters(cpu):
    one = case(
        "planner.fused_optimizer.default",
        [((8, 4), F32, "c", 8), ((4,), F32, "c", 4), ((), F32, "c", 3)],
        kind="adamw",
    )
    call = calls(one, cpu, copies=1)[0]
    call()


def test_unscale_runs(cpu):
    run(case("planner.unscale.default", [((8, 4), F32), ((4,), F32)], [((1,), F32)]), cpu)


@pytest.mark.parametrize("heads, key_heads, masked", [(4, 4, False), (4, 2, False), (4, 4, True)])
def test_attention_backward_gives_every_gradient(heads, key_heads, masked, cpu):
    q, k = ((2, heads, 16, 8), F32, "s"), ((2, key_heads, 16, 8), F32, "s")
    mask = [((2, 1, 16, 16), F32)] if masked else []
    one = case(
        "planner.attention_backward.default",
        [q, q, k, k, *mask, q, ((2, heads, 16), F32)],
        [q, k, k],
        causal=not masked,
        dropout=0.0,
        mask_grad=False,
    )
    call = calls(one, cpu, copies=1)[0]
    first, second = ([t.clone() for t in tensors(call())[:3]] for _ in range(2))
    assert [tuple(t.shape) for t in first] == [q[0], k[0], k[0]]
    assert all(torch.allclose(a, b) and a.abs().sum() > 0 for a, b in zip(first, second))


@pytest.mark.parametrize(
    "op, inputs, outputs, attrs",
    [
        (
            "planner.rms_norm.default",
            [((4, 16), F32), ((16,), F32)],
            [((4, 16), F32), ((4, 1), F32)],
            {"shape": (16,)},
        ),
        (
            "planner.rms_norm_backward.default",
            [((4, 16), F32), ((4, 16), F32), ((4, 1), F32), ((16,), F32)],
            [((4, 16), F32), ((16,), F32)],
            {"wanted": (True, True)},
        ),
        (
            "aten.native_group_norm.default",
            [((2, 8, 4, 4), F32), ((8,), F32), ((8,), F32)],
            [((2, 8, 4, 4), F32), ((2, 4), F32), ((2, 4), F32)],
            {"group": 4, "eps": 1e-5},
        ),
        (
            "aten.bmm.default",
            [((4, 8, 3), F32, "s"), ((4, 3, 5), F32, "t")],
            [((4, 8, 5), F32)],
            {},
        ),
        (
            "aten.convolution_backward.default",
            [((2, 6, 8, 8), F32, "cl"), ((2, 3, 8, 8), F32, "cl"), ((6, 3, 3, 3), F32, "cl")],
            [((6, 3, 3, 3), F32, "cl"), ((6,), F32)],
            {
                "bias_sizes": (6,),
                "stride": (1, 1),
                "padding": (1, 1),
                "dilation": (1, 1),
                "transposed": False,
                "output_padding": (0, 0),
                "groups": 1,
                "output_mask": (False, True, True),
            },
        ),
        (
            "aten.masked_fill.Scalar",
            [((4, 4), F32), ((4, 4), "bool")],
            [((4, 4), F32)],
            {"value": "-inf"},
        ),
        (
            "aten.scatter_add.default",
            [((4, 9), F32), ((4, 3), "int64"), ((4, 3), F32)],
            [((4, 9), F32)],
            {"dim": 1},
        ),
        ("aten.upsample_nearest2d.default", [((1, 2, 4, 4), F32)], [((1, 2, 8, 8), F32)], {}),
        ("aten.add.Tensor", [((4,), F32)], [((4,), F32)], {"other": 2.0}),
        ("aten.mul.Tensor", [((4,), F32)], [((4,), F32)], {}),
        ("aten.slice_backward.default", [((2, 3), F32)], [((2, 9), F32)], {"dim": 1, "step": 1}),
        ("aten.arange.start_step", [], [((6,), "int64")], {"start": 3, "step": 2}),
        ("aten._local_scalar_dense.default", [], [], {}),
    ],
)
def test_cases_by_hand(op, inputs, outputs, attrs, cpu):
    one = case(op, inputs, outputs, **attrs)
    got = tensors(run(one, cpu))
    want = [shape for shape, *_ in outputs]
    assert [tuple(t.shape) for t in got] == want[: len(got)] and (
        got or not want or op.endswith("_.default")
    )


def test_in_place_values_stay_sane(cpu):
    for op in ("silu_", "relu_", "hardswish_", "sigmoid_", "tanh_"):
        call = calls(case(f"aten.{op}.default", [((64,), F32)], [((64,), F32)]), cpu, copies=1)[0]
        for _ in range(300):
            out = call()
        assert torch.isfinite(out).all() and out.abs().min() > 1e-30, op


def test_buffers_exceed_the_cache(cpu):
    one = case("aten.add.Tensor", [((1 << 20,), F32), ((1 << 20,), F32)], [((1 << 20,), F32)])
    assert copies_for(one, cpu) * one.bytes > cpu.cache_bytes
    assert copies_for(case("aten.add.Tensor", [((4,), F32), ((4,), F32)], [((4,), F32)]), cpu) <= 16


def test_a_case_larger_than_memory_is_refused_before_it_is_tried(cpu):
    with pytest.raises(CannotRun, match="out of memory: needs"):
        calls(case("aten.relu.default", [((1 << 44,), F32)], [((1 << 44,), F32)]), cpu)


def test_what_torch_refuses_is_one_line(cpu):
    with pytest.raises(CannotRun) as refused:
        calls(case("aten.mm.default", [((4, 5), F32), ((6, 4), F32)], [((4, 4), F32)]), cpu)
    assert "\n" not in str(refused.value) and str(refused.value)


def test_a_dead_device_is_the_machines_fault(cpu, monkeypatch):
    monkeypatch.setattr(type(cpu), "alive", lambda self: False)
    with pytest.raises(MachineError, match="device failed"), guarded(cpu):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")


def test_tf32_is_allowed_only_where_asked():
    before = torch.backends.cuda.matmul.allow_tf32
    with precision("tf32"):
        assert torch.backends.cuda.matmul.allow_tf32 and torch.backends.cudnn.allow_tf32
        with precision("fp32"):
            assert not torch.backends.cuda.matmul.allow_tf32 and not torch.backends.cudnn.allow_tf32
    assert torch.backends.cuda.matmul.allow_tf32 == before
