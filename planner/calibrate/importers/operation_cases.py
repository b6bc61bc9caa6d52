"""Which cases a row of an operation table timed: its short name, pass and sizes in the vocabulary
of traces.

Operands and layouts are those that traces record for the same work: a linear layer's forward pass
multiplies by a transposed weight, the gradient of its weight has a transposed left operand, and so
on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from planner.operations.cases import Case, case

DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32", "tf32": "float32"}
NF4_BLOCK = 64  # elements that share a scale (bitsandbytes quantize_4bit)
FORWARD, BACKWARD = "forward", "backward"
PASSES = ("grad_input", "grad_weight")

#: AdamW with foreach=True, in its order (torch/optim/adam.py): operation, how many lists it reads.
ADAMW = (
    ("aten._foreach_mul_.Scalar", 1),
    ("aten._foreach_lerp_.Scalar", 2),
    ("aten._foreach_mul_.Scalar", 1),
    ("aten._foreach_addcmul_.Scalar", 3),
    ("aten._foreach_sqrt.default", 1),
    ("aten._foreach_div_.ScalarList", 1),
    ("aten._foreach_add_.Scalar", 1),
    ("aten._foreach_addcdiv_.ScalarList", 3),
)
#: SGD with momentum and foreach=True (torch/optim/sgd.py).
SGD_MOMENTUM = (
    ("aten._foreach_mul_.Scalar", 1),
    ("aten._foreach_add_.List", 2),
    ("aten._foreach_add_.List", 2),
)

Sizes = dict[str, Any]


class CannotMap(Exception):
    """A row that stands for nothing that traces hold, with the reason."""


def cases_of(op: str, direction: str, dtype: str, shape: Sizes) -> list[Case]:
    """The cases that a row timed, one after the other. Raises CannotMap, or KeyError for a size
    that is missing."""
    build = _BUILDERS.get(op)
    if build is None:
        raise CannotMap(f"of unknown operation {op[:40]!r}")
    if dtype not in DTYPES:
        raise CannotMap(f"of unknown type {dtype[:20]!r}")
    if direction not in (FORWARD, BACKWARD, *PASSES):
        raise CannotMap(f"of unknown pass {direction[:20]!r}")
    return build(op, direction, DTYPES[dtype], "tf32" if dtype == "tf32" else "fp32", shape)


def _linear(_op, direction: str, dtype: str, precision: str, s: Sizes) -> list[Case]:
    m, n, k = s["m"], s["n"], s["k"]
    left, right, out = {
        FORWARD: (((m, k), dtype), ((k, n), dtype, "t"), ((m, n), dtype)),
        "grad_input": (((m, n), dtype), ((n, k), dtype), ((m, k), dtype)),
        "grad_weight": (((n, m), dtype, "t"), ((m, k), dtype), ((n, k), dtype)),
    }[direction]
    return [case("aten.mm.default", [left, right], [out], precision=precision)]


def _attention(_op, direction: str, dtype: str, precision: str, s: Sizes) -> list[Case]:
    if dtype == "float32" and s["h"] != s["hk"]:
        raise CannotMap("float32 attention with grouped heads, which no fused kernel computes")
    q, k = (((s["b"], heads, s["s"], s["d"]), dtype) for heads in (s["h"], s["hk"]))
    out, sums = (*q, "s"), ((s["b"], s["h"], s["s"]), "float32")
    attrs: dict[str, Any] = {"causal": bool(s["causal"]), "dropout": 0.0, "precision": precision}
    if direction == FORWARD:
        return [case("planner.attention.default", [q, k, k], [out, sums], **attrs)]
    grads = [(*q, "s"), (*k, "s"), (*k, "s")]
    return [
        case(
            "planner.attention_backward.default",
            [q, q, k, k, out, sums],
            grads,
            mask_grad=False,
            **attrs,
        )
    ]


def _convolution(_op, direction: str, dtype: str, precision: str, s: Sizes) -> list[Case]:
    """Square images and kernels, padded to keep the size but for kernels no wider than their
    stride."""
    n, c, size, o, k, stride, groups = (
        s[name] for name in ("n", "c", "hw", "o", "k", "stride", "groups")
    )
    padding = k // 2 if stride < k or k == 1 else 0
    after = (size + 2 * padding - k) // stride + 1
    if c % groups or after < 1:
        raise CannotMap("sizes that do not fit the operation")
    last = s["layout"] == "nhwc"
    image, weight, out = (
        (shape, dtype, _layout(shape, last))
        for shape in ((n, c, size, size), (o, c // groups, k, k), (n, o, after, after))
    )
    attrs: dict[str, Any] = {
        "stride": (stride, stride),
        "padding": (padding, padding),
        "dilation": (1, 1),
        "transposed": False,
        "output_padding": (0, 0),
        "groups": groups,
        "precision": precision,
    }
    if direction == FORWARD:
        return [case("aten.convolution.default", [image, weight], [out], **attrs)]
    wanted = image if direction == "grad_input" else weight
    mask = (direction == "grad_input", direction == "grad_weight", False)
    return [
        case(
            "aten.convolution_backward.default",
            [out, image, weight],
            [wanted],
            bias_sizes=(0,),
            output_mask=mask,
            **attrs,
        )
    ]


def _layout(shape: tuple[int, ...], channels_last: bool) -> str:
    """As traces name it: a tensor that is contiguous either way is ``c``."""
    return "cl" if channels_last and shape[1] > 1 and max(shape[2:]) > 1 else "c"


def _pointwise(op: str, _direction, dtype: str, _precision, s: Sizes) -> list[Case]:
    flat = ((s["elements"],), dtype)
    if op == "mul_scalar":
        return [case("aten.mul.Tensor", [flat], [flat], other=0.5)]
    return [case(f"aten.{op}.Tensor", [flat, flat], [flat])]


def _moved(op: str, _direction, dtype: str, _precision, s: Sizes) -> list[Case]:
    flat = ((s["elements"],), dtype)
    if op == "copy":
        return [case("aten.copy_.default", [flat, flat], [flat])]
    if op == "zero":
        return [case("aten.zero_.default", [flat], [flat])]
    if op == "sum":
        return [case("aten.sum.default", [flat], [((), dtype)])]
    to_low = op == "cast_fp32_bf16"
    source, result = (
        ("float32", "bfloat16")
        if to_low
        else (dtype, "float64" if dtype == "float32" else "float32")
    )
    return [
        case(
            "aten._to_copy.default",
            [((s["elements"],), source)],
            [((s["elements"],), result)],
            dtype=result,
        )
    ]


def _activation(op: str, direction: str, dtype: str, _precision, s: Sizes) -> list[Case]:
    flat = ((s["elements"],), dtype)
    if direction == FORWARD:
        return [case(f"aten.{op}.default", [flat], [flat])]
    name = "threshold" if op == "relu" else op
    attrs: dict[str, Any] = {"threshold": 0} if op == "relu" else {}
    return [case(f"aten.{name}_backward.default", [flat, flat], [flat], **attrs)]


def _dropout(_op, _direction, dtype: str, _precision, s: Sizes) -> list[Case]:
    flat = ((s["elements"],), dtype)
    return [
        case(
            "aten.native_dropout.default",
            [flat],
            [flat, ((s["elements"],), "bool")],
            p=0.1,
            train=True,
        )
    ]


def _norm(op: str, direction: str, dtype: str, _precision, s: Sizes) -> list[Case]:
    rows, width = s["rows"], s["width"]
    x, weight, each = ((rows, width), dtype), ((width,), dtype), ((rows, 1), "float32")
    if op == "rms_norm":
        if direction == FORWARD:
            return [case("planner.rms_norm.default", [x, weight], [x, each], shape=(width,))]
        return [
            case(
                "planner.rms_norm_backward.default",
                [x, x, each, weight],
                [x, weight],
                wanted=(True, True),
            )
        ]
    if direction == FORWARD:
        return [
            case(
                "aten.native_layer_norm.default",
                [x, weight],
                [x, each, each],
                normalized_shape=(width,),
                eps=1e-5,
            )
        ]
    return [
        case(
            "aten.native_layer_norm_backward.default",
            [x, x, each, each, weight],
            [x, weight],
            normalized_shape=(width,),
            output_mask=(True, True, False),
        )
    ]


def _softmax(_op, direction: str, dtype: str, _precision, s: Sizes) -> list[Case]:
    x = ((s["rows"], s["width"]), dtype)
    if direction == FORWARD:
        return [case("aten._softmax.default", [x], [x], dim=-1, half_to_float=False)]
    return [case("aten._softmax_backward_data.default", [x, x], [x], dim=-1, input_dtype=dtype)]


def _cross_entropy(_op, direction: str, _kind, _precision, s: Sizes) -> list[Case]:
    """In float32 whatever the row's type says, as losses are. The forward loss reads one number a
    row: counted with its softmax."""
    x, target, scalar = (
        ((s["rows"], s["width"]), "float32"),
        ((s["rows"],), "int64"),
        ((), "float32"),
    )
    if direction == FORWARD:
        return [case("aten._log_softmax.default", [x], [x], dim=1, half_to_float=False)]
    return [
        case(
            "aten.nll_loss_backward.default",
            [scalar, x, target, scalar],
            [x],
            ignore_index=-100,
            reduction=1,
        ),
        case("aten._log_softmax_backward_data.default", [x, x], [x], dim=1, input_dtype="float32"),
    ]


def _embedding(_op, direction: str, dtype: str, _precision, s: Sizes) -> list[Case]:
    table, rows, ids = (
        ((s["vocab"], s["width"]), dtype),
        ((s["rows"], s["width"]), dtype),
        ((s["rows"],), "int64"),
    )
    if direction == FORWARD:
        return [case("aten.embedding.default", [table, ids], [rows])]
    return [
        case(
            "aten.embedding_dense_backward.default",
            [rows, ids],
            [table],
            num_weights=s["vocab"],
            padding_idx=-1,
            scale_grad_by_freq=False,
        )
    ]


def _batch_norm(_op, direction: str, dtype: str, _precision, s: Sizes) -> list[Case]:
    shape = (s["n"], s["c"], s["hw"], s["hw"])
    x, each = (shape, dtype, _layout(shape, True)), ((s["c"],), "float32")
    if direction == FORWARD:
        return [
            case(
                "aten.native_batch_norm.default",
                [x, each, each, each, each],
                [x, each, each],
                training=True,
                momentum=0.1,
                eps=1e-5,
            )
        ]
    return [
        case(
            "aten.native_batch_norm_backward.default",
            [x, x, each, each, each, each, each],
            [x, each, each],
            train=True,
            eps=1e-5,
            output_mask=(True, True, True),
        )
    ]


def _optimizer(op: str, _direction, dtype: str, _precision, s: Sizes) -> list[Case]:
    tensors = s["tensors"]
    each = ((s["total"] // tensors,), dtype, "c")
    if s["total"] < tensors:
        raise CannotMap("sizes that do not fit the operation")
    if op == "adamw_fused":
        return [case("planner.fused_optimizer.default", [(*each, 4 * tensors)], kind="adamw")]
    steps = ADAMW if op == "adamw" else SGD_MOMENTUM
    return [
        case(
            name,
            [(*each, lists * tensors)],
            [(*each, tensors)] if not name.split(".")[1].endswith("_") else (),
        )
        for name, lists in steps
    ]


def _nf4(_op, _direction, dtype: str, _precision, s: Sizes) -> list[Case]:
    """Its scales are dequantised first, 2 % of the bytes: counted with it."""
    elements = s["n"] * s["k"]
    packed, scales = ((-(-elements // 2), 1), "uint8"), ((-(-elements // NF4_BLOCK),), "float32")
    return [
        case(
            "planner.dequantize_4bit.default",
            [packed, scales],
            [((s["n"], s["k"]), dtype)],
            dtype=dtype,
            shape=(s["n"], s["k"]),
        )
    ]


_BUILDERS: dict[str, Callable[..., list[Case]]] = {
    "linear": _linear,
    "attention": _attention,
    "conv2d": _convolution,
    "dropout": _dropout,
    "softmax": _softmax,
    "cross_entropy": _cross_entropy,
    "embedding": _embedding,
    "batch_norm": _batch_norm,
    "nf4_dequantize": _nf4,
    **dict.fromkeys(("add", "mul", "mul_scalar"), _pointwise),
    **dict.fromkeys(("copy", "zero", "sum", "cast_fp32_bf16", "cast_bf16_fp32"), _moved),
    **dict.fromkeys(("silu", "gelu", "relu"), _activation),
    **dict.fromkeys(("layer_norm", "rms_norm"), _norm),
    **dict.fromkeys(("adamw", "adamw_fused", "sgd_momentum"), _optimizer),
}
