"""Fused attention: causal, full, with a mask, with grouped heads; forward and backward."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from planner.operations import streams
from planner.operations.bench import Bench, Run, Substitute
from planner.operations.call import Call, Cost, Number, names
from planner.operations.cases import Case, case
from planner.operations.kind import Operation, OperationKind, Rates, SuiteDevice, Term
from planner.trace.table import Operand

if TYPE_CHECKING:
    import torch

#: The backward pass recomputes the scores and makes four more products where the forward pass makes
#: two (arXiv 2307.08691, 4.1).
BACKWARD_OF_ATTENTION = 2.5
#: (samples, heads, heads of keys, queries, keys, width of a head)
_SELF = (
    (
        (2, 4, 4, 64, 64, 16),
        (2, 4, 4, 128, 128, 32),
        (4, 3, 3, 197, 197, 64),
        (8, 8, 8, 64, 64, 32),
        (1, 12, 12, 256, 256, 64),
        (1, 8, 8, 512, 512, 64),
        (2, 8, 2, 128, 128, 64),
        (1, 4, 4, 1024, 1024, 80),
        (16, 4, 4, 32, 32, 64),
        (1, 4, 4, 256, 256, 128),
    ),
    (
        (8, 12, 12, 128, 128, 64),
        (32, 12, 12, 197, 197, 64),
        (4, 16, 16, 512, 512, 64),
        (4, 32, 8, 1024, 1024, 128),
        (1, 32, 8, 2048, 2048, 128),
        (4, 32, 32, 2048, 2048, 64),
        (1, 32, 8, 8192, 8192, 128),
        (2, 16, 2, 4096, 4096, 128),
        (16, 14, 2, 512, 512, 64),
        (64, 12, 12, 50, 50, 64),
        (8, 12, 12, 1500, 1500, 64),
        (8, 8, 8, 77, 77, 64),
        (4, 32, 32, 1024, 1024, 80),
        (8, 8, 8, 1024, 1024, 32),
        (1, 64, 8, 4096, 4096, 128),
        (2, 12, 12, 128, 128, 64),
    ),
)
_CROSS = (
    ((2, 4, 4, 32, 256, 64), (1, 6, 6, 64, 375, 64)),
    ((8, 12, 12, 64, 1500, 64), (16, 16, 16, 128, 512, 64), (8, 20, 20, 448, 1500, 64)),
)
#: One query a row against what was written or read before, as a decoder writes text: the work is
#: reading the keys, and each query finds kernels that are made for many.
_WRITING = (
    (
        (8, 8, 8, 1, 32, 32),
        (32, 8, 8, 1, 128, 32),
        (8, 4, 4, 1, 256, 64),
        (2, 6, 6, 1, 375, 64),
    ),
    (
        (8, 12, 12, 1, 128, 64),
        (32, 12, 12, 1, 1500, 64),
        (8, 16, 16, 1, 512, 64),
        (8, 32, 8, 1, 1024, 128),
        (1, 32, 8, 1, 2048, 128),
    ),
)
#: Encoders of the BERT kind drop probabilities while they train.
_WITH_DROPOUT = (
    (
        (2, 4, 4, 64, 64, 32),
        (8, 4, 4, 64, 64, 64),
        (4, 6, 6, 100, 100, 64),
        (2, 8, 8, 256, 256, 32),
        (1, 12, 12, 128, 128, 64),
        (1, 4, 4, 512, 512, 64),
    ),
    (
        (8, 12, 12, 128, 128, 64),
        (32, 12, 12, 128, 128, 64),
        (16, 16, 16, 384, 384, 64),
        (8, 12, 12, 512, 512, 64),
        (4, 12, 12, 1024, 1024, 64),
        (2, 32, 32, 2048, 2048, 64),
    ),
)
_STEP_DTYPES = ("bfloat16", "float16", "float32")


# ---- formulas


def _flops(call: Call, q: Operand, k: Operand, v: Operand) -> np.ndarray:
    """Two products, 2·B·H·Sq·Sk·(D + Dv); causal kernels skip the half above the diagonal."""
    length = call.shape(k)[-2]
    total = 2 * call.numel(q) * length * (1 + call.shape(v)[-1] / call.shape(q)[-1])
    return total / 2 if call.signature.attr("causal", False) else total


def _attention(call: Call) -> Cost:
    return Cost(_flops(call, *call.inputs[:3]), call.read_all, call.write_all)


def _attention_backward(call: Call) -> Cost:
    """The gradient of q is gathered in a float32 buffer, written and read once more
    (``mha_bwd``)."""
    q = call.inputs[1]
    gathered = 4 * call.numel(q)
    return Cost(
        BACKWARD_OF_ATTENTION * _flops(call, *call.inputs[1:4]),
        call.read_all + gathered,
        call.write_all + 2 * gathered,
    )


def _flex_attention_backward(call: Call) -> Cost:
    """No buffer in float32 (torch/_inductor/kernel/flex)."""
    flops = BACKWARD_OF_ATTENTION * _flops(call, *call.inputs[1:4])
    return Cost(flops, call.read_all, call.write_all)


# ---- family and price


def _queries_and_keys(call: Call) -> tuple[Operand, Operand]:
    return (
        (call.inputs[1], call.inputs[2]) if call.is_backward else (call.inputs[0], call.inputs[1])
    )


def _is_masked(call: Call) -> bool:
    return len(call.inputs) > (6 if call.is_backward else 3)


def _is_flex(call: Call) -> bool:
    return call.signature.op.startswith("planner.flex_attention")


def _terms(operation: Operation, _precision: str) -> list[Term]:
    call = operation.call
    q, k = _queries_and_keys(call)
    queries, keys, width = call.shape(q)[-2], call.shape(k)[-2], call.shape(q)[-1]
    heads = call.numel(q) / np.maximum(queries * width, 1)
    mask = "masked" if _is_masked(call) else "causal" if call.signature.attr("causal") else "full"
    if _is_flex(call):
        mask = f"flex_{mask}"  # no suite times it: a kernel is compiled for each model
    if call.signature.attr("dropout"):
        mask += "_dropout"  # other kernels, or none that is fused: a processor's knows no dropout
    return [
        Term(
            f"{operation.kind.name}.{streams.direction(call)}.{mask}.{q.dtype}",
            (heads, queries, keys, width),
            operation.flops,
            operation.bytes,
        )
    ]


def _price(operation: Operation, device: Rates) -> Number:
    call = operation.call
    q, k = _queries_and_keys(call)
    peak = device.peak(q.dtype)
    share: Number = device.parameter(
        "attention",
        ("tensor" if peak.tensor else "simt")
        + ("_backward_share" if call.is_backward else "_share"),
    )
    if _is_masked(call) and peak.tensor:
        share *= device.parameter("attention", "masked_share")
    if _is_flex(call):
        way = "flex_backward_share" if call.is_backward else "flex_share"
        share *= device.parameter("attention", way)
    length, width = call.shape(k)[-2], call.shape(q)[-1]
    share = share * np.minimum(1.0, width / device.parameter("attention", "full_head"))
    # length / (length + half) makes the time grow with length × (length + half): never less for a
    # longer sequence
    half = device.parameter("attention", "half_length")
    compute = operation.flops * (1 + half / np.maximum(length, 1)) / (peak.flops_per_s * share)
    if peak.tensor:
        compute = compute + _exponential_seconds(operation, device, width)
    memory = device.memory_seconds(
        operation.bytes, device.parameter("attention", "bandwidth_share")
    )
    return np.maximum(compute, memory) + device.latency_seconds("attention", call.signature)


def _exponential_seconds(operation: Operation, device: Rates, width: Number) -> Number:
    """One exponential a score, on the special function units, which do not get faster as the
    tensor cores do: a score is 4 × width FLOP of the forward pass, and as many times more of the
    backward pass as that has products more."""
    each = 4 * width * (BACKWARD_OF_ATTENTION if operation.call.is_backward else 1.0)
    scores = operation.flops / np.maximum(each, 1)
    return device.arithmetic_seconds(scores / device.parameter("attention", "special_ratio"))


# ---- suite


def _suite(device: SuiteDevice) -> Iterator[Case]:
    """Forward and backward of every shape, in each of the three ways that a mask is given."""
    for dtype in (d for d in _STEP_DTYPES if d in device.dtypes):
        for shape in device.sizes(*_SELF):
            for mask in ("causal", "full", "masked"):
                if mask == "masked" and shape[1] != shape[2]:
                    continue  # the kernel that takes masks has no grouped heads
                yield from _pair(shape, mask, dtype)
        for shape in device.sizes(*_WITH_DROPOUT):
            for mask in ("full", "causal", "masked"):
                yield from _pair(shape, mask, dtype, dropout=0.1)
        for shape in device.sizes(*_CROSS):
            yield from _pair(shape, "full", dtype)
        for shape in device.sizes(*_WRITING):
            for mask in ("full", "masked") if shape[1] == shape[2] else ("full",):
                yield next(_pair(shape, mask, dtype))  # nothing goes back


def _pair(shape: tuple[int, ...], mask: str, dtype: str, dropout: float = 0.0) -> Iterator[Case]:
    """The forward pass and the backward pass, on heads that lie between the positions as
    projections leave them."""
    batch, heads, shared, queries, keys, width = shape
    q, k = ((batch, heads, queries, width), dtype, "s"), ((batch, shared, keys, width), dtype, "s")
    given = [((batch, 1, queries, keys), dtype, "c")] if mask == "masked" else []
    sums = ((batch, heads, queries), "float32", "c")
    plain = {"causal": mask == "causal", "dropout": dropout}
    yield case("planner.attention.default", [q, k, k, *given], [q, sums], **plain)
    yield case(
        "planner.attention_backward.default",
        [q, q, k, k, *given, q, sums],
        [q, k, k],
        mask_grad=False,
        **plain,
    )


# ---- substitutes


def _run_attention(bench: Bench) -> Run:
    masked = len(bench.case.signature.inputs) > 3
    q, k, v, *mask = bench.named("q k v mask" if masked else "q k v").values()
    for t in (q, k, v):
        t.requires_grad_()  # kernels keep the row sums for the backward pass
    return lambda: _attend(bench.case, q, k, v, mask[0] if mask else None)


def _attend(
    case: Case, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    import torch

    with torch.enable_grad():
        return torch.nn.functional.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask,
            dropout_p=float(case.signature.attr("dropout", 0.0)),
            is_causal=bool(case.signature.attr("causal", False)),
            enable_gqa=q.shape[-3] != k.shape[-3],
        )


def _run_attention_backward(bench: Bench) -> Run:
    signature = bench.case.signature
    masked = len(signature.inputs) > 6
    tensors = bench.named("grad q k v mask" if masked else "grad q k v")
    wanted = [tensors[n] for n in "qkv"] + (
        [tensors["mask"]] if masked and signature.attr("mask_grad") else []
    )
    for t in wanted:
        t.requires_grad_()
    out = _attend(bench.case, tensors["q"], tensors["k"], tensors["v"], tensors.get("mask"))
    return bench.backward_call(out, wanted, tensors["grad"])


_FORWARD = names(
    "_scaled_dot_product_flash_attention _scaled_dot_product_efficient_attention "
    "_scaled_dot_product_cudnn_attention "
    "_flash_attention_forward _efficient_attention_forward"
)
_BACKWARD = names(
    "_scaled_dot_product_flash_attention_backward "
    "_scaled_dot_product_efficient_attention_backward "
    "_scaled_dot_product_cudnn_attention_backward _flash_attention_backward"
)

KIND = OperationKind(
    name="attention",
    place=20,
    formulas={
        **dict.fromkeys(("planner.attention", *_FORWARD), _attention),
        "planner.flex_attention": _attention,
        "planner.flex_attention_backward": _flex_attention_backward,
        **dict.fromkeys(("planner.attention_backward", *_BACKWARD), _attention_backward),
    },
    price=_price,
    terms=_terms,
    suite=_suite,
    features=("heads", "queries", "keys", "width"),
    weights={
        "": 6.0,
        **{
            f"{direction}.{mask}": value
            for direction in ("forward", "backward")
            for mask, value in (
                ("masked", 2.0),
                ("full_dropout", 3.0),
                ("causal_dropout", 1.5),
                ("masked_dropout", 0.7),
            )
        },
    },
    substitutes={
        "planner.attention": Substitute(_run_attention),
        "planner.attention_backward": Substitute(_run_attention_backward),
    },
    model_work=True,
)
