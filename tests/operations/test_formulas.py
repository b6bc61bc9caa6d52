"""Formulas of operations: against torch's own counter on real modules, and byte counts by hand."""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from planner.operations.registry import cost, kind_of, operation_names
from planner.trace.recorder.as_if_on_cuda import as_if_on_cuda
from planner.trace.recorder.cuda_mode import CudaLike
from planner.trace.recorder.dispatch_mode import Recorder
from planner.trace.table import Operand, Signature


def recorded(module: nn.Module, *inputs: torch.Tensor):
    """[(count, signature, dims)] of a forward and backward pass on meta."""
    module, inputs = (
        module.to("meta"),
        [i.detach().to("meta").requires_grad_(i.requires_grad) for i in inputs],
    )
    recorder = Recorder(module)
    with recorder, as_if_on_cuda(CudaLike()):
        out = module(*inputs)
        recorder.phase = "backward"
        torch.autograd.backward(out.sum())
    numbers = sorted(
        {n for s in recorder.raw.signatures for side in s[1:3] for o in side for n in o[0]}
    )
    index = {n: i for i, n in enumerate(numbers)}

    def operands(side):
        return tuple(Operand(tuple(index[n] for n in o[0]), *o[1:]) for o in side)

    counts = np.bincount(
        [op[0] for op in recorder.raw.operations], minlength=len(recorder.raw.signatures)
    )
    return [
        (n, Signature(s[0], operands(s[1]), operands(s[2]), s[3]))
        for n, s in zip(counts, recorder.raw.signatures)
    ], np.array(numbers)


def model_flops(module, *inputs) -> float:
    signatures, dims = recorded(module, *inputs)
    return sum(n * float(cost(s, dims).flops) for n, s in signatures if kind_of(s.op).model_work)


def counted(module, *inputs) -> int:
    with FlopCounterMode(display=False) as counter:
        module(*inputs).sum().backward()
    return counter.get_total_flops()


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(32, 96)

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, 4, 8)).permute(2, 0, 3, 1, 4)
        return torch.nn.functional.scaled_dot_product_attention(q, k, v)


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Sequential(nn.Linear(24, 40), nn.GELU(), nn.Linear(40, 8)), (3, 5, 24)),
        (nn.Sequential(nn.Linear(24, 40, bias=False), nn.ReLU(), nn.Linear(40, 8)), (7, 24)),
        (
            nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Conv2d(8, 16, 1)),
            (2, 3, 16, 16),
        ),
        (nn.Sequential(nn.Conv1d(4, 6, 5, dilation=2), nn.Conv1d(6, 4, 3)), (2, 4, 40)),
        (nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1), (2, 4, 8, 8)),
        (nn.Conv3d(3, 5, (2, 4, 4), stride=(2, 4, 4)), (1, 3, 4, 8, 8)),
    ],
)
def test_products_and_convolutions_count_as_torch_counts_them(module, shape):
    inputs = torch.randn(shape, requires_grad=True)
    expected = counted(module, inputs)
    got = model_flops(module, inputs)
    bias = sum(p.numel() for n, p in module.named_parameters() if n.endswith("bias"))
    assert bias == 0 or got >= expected
    # torch leaves out the sums of the biases' gradients
    assert got == pytest.approx(expected, rel=0.02)


def test_attention_counts_as_torch_counts_it():
    linear, shape = nn.Linear(32, 96), (2, 4, 16, 8)
    x = torch.randn(2, 16, 32, requires_grad=True)
    expected = (
        counted(linear, x)
        + sdpa_flop_count(shape, shape, shape)
        + sdpa_backward_flop_count(shape, shape, shape, shape)
    )
    assert model_flops(Attention(), x) == expected


def test_grouped_convolution_forward():
    module = nn.Conv2d(8, 16, 3, groups=4, bias=False)
    x = torch.randn(2, 8, 10, 10)
    with FlopCounterMode(display=False) as counter:
        module(x)
    signatures, dims = recorded(module, x)
    forward = next(s for _, s in signatures if s.op == "aten.convolution.default")
    assert float(cost(forward, dims).flops) == counter.get_total_flops()


# ---- bytes by hand; forms are the numbers 0..n themselves

DIMS = np.arange(200)


def operand(*shape, dtype="float32", **more) -> Operand:
    return Operand(shape, dtype, **more)


def test_bytes_by_hand():
    add = Signature(
        "aten.add.Tensor", (operand(8, 16), operand(8, 16, expanded=(0,))), (operand(8, 16),)
    )
    assert cost(add, DIMS)[:] == (128, 4 * (128 + 16), 512)
    copy = Signature(
        "aten.copy_.default",
        (operand(8, dtype="bfloat16"), operand(8)),
        (operand(8, dtype="bfloat16"),),
    )
    assert cost(copy, DIMS)[1:] == (32, 16)
    rows = Signature(
        "aten.embedding.default", (operand(100, 64), operand(3, dtype="int64")), (operand(3, 64),)
    )
    assert cost(rows, DIMS)[1:] == (3 * 64 * 4 + 24, 3 * 64 * 4)
    zeros = Signature("aten.zeros_like.default", (operand(8),), (operand(8),))
    assert cost(zeros, DIMS)[1:] == (0, 32)
    lists = Signature(
        "aten._foreach_addcmul_.Scalar", (operand(10, count=3), operand(20, count=6)), ()
    )
    assert cost(lists, DIMS)[1:] == (4 * (30 + 120), 4 * (10 + 40))
    for view in ("aten.view.default", "aten.t.default", "aten.detach.default"):
        assert sum(cost(Signature(view, (operand(8),), (operand(8),)), DIMS)) == 0


def test_causal_attention_is_half_and_grouped_queries_count_by_query_heads():
    q, k = operand(2, 8, 64, 16), operand(2, 2, 64, 16)
    full, causal = (
        Signature("planner.attention.default", (q, k, k), (q,), (("causal", c), ("dropout", 0.0)))
        for c in (False, True)
    )
    assert (
        float(cost(full, DIMS).flops)
        == 4 * 2 * 8 * 64 * 64 * 16
        == 2 * float(cost(causal, DIMS).flops)
    )
    back = Signature(
        "planner.attention_backward.default",
        (q, q, k, k, q, operand(2, 8, 64)),
        (q, k, k),
        (("causal", False), ("dropout", 0.0)),
    )
    assert float(cost(back, DIMS).flops) == 2.5 * float(cost(full, DIMS).flops)


def test_an_unknown_operation_is_named_and_costs_its_operands():
    strange = Signature("mylib.strange.default", (operand(10),), (operand(20),))
    assert kind_of(strange.op).name == "unmodelled"
    assert cost(strange, DIMS)[1:] == (40, 80)


@pytest.mark.parametrize(
    ("op", "kind"),
    [
        ("aten.mm.out", "matmul"),
        ("aten.add_.Tensor", "elementwise"),
        ("aten._foreach_mul_.Scalar", "optimizer"),
        ("aten._fused_adamw_.default", "optimizer"),
        ("aten.fill_.Scalar", "fill"),
        ("aten.__and__.Tensor", "elementwise"),
        ("aten._local_scalar_dense.default", "synchronise"),
        ("planner.blockwise_optimizer.default", "optimizer"),
        ("planner.dequantize_4bit.default", "dequantize"),
    ],
)
def test_overloads_and_in_place_forms_share_a_formula(op, kind):
    assert kind_of(op).name == kind


@settings(max_examples=40, deadline=None)
@given(
    # a recurrent network's call has its sizes in its arguments
    st.sampled_from(sorted(n for n in operation_names() if not n.startswith("planner.rnn"))),
    st.lists(st.integers(1, 60), min_size=4, max_size=4),
)
def test_no_formula_is_ever_negative_or_depends_on_the_grid(name, sizes):
    operands = tuple(Operand((0, 1, 2, 3), "float32") for _ in range(4))
    # what formulas of recurrent networks and of updates on the host read of a call
    attributes = dict(batch_first=True, bidirectional=False, hidden=3, layers=1, width=2, each=12)
    attributes["mode"] = "lstm"
    attrs = tuple(sorted(attributes.items()))
    signature = Signature(f"{name}.default", operands, operands[:1], attrs)
    alone = cost(signature, np.array(sizes))
    grid = cost(signature, np.array([[n, n + 1] for n in sizes]))
    for single, many in zip(alone, grid):
        assert np.all(np.asarray(single) >= 0)
        assert np.broadcast_to(many, (2,))[0] == single
