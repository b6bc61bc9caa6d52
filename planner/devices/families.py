"""What the time of an operation is a function of: its family, and a few sizes.

A family is a group of operations that one curve describes, for example ``matmul.nt.bfloat16``. Most
calls are one term; the backward pass of a convolution is a term for each gradient it computes.
Operations of kinds that run no kernel have none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from planner.devices.shapes import (
    BACKWARD,
    convolution_operands,
    convolution_passes,
    is_depthwise,
    product_of,
)
from planner.trace.operations import Call, kind_of
from planner.trace.table import Operand

#: The sizes that tell one shape of a kind from another, in the order of ``Term.features``. Other
#: kinds: bytes alone.
FEATURES = {
    "matmul": ("batch", "m", "n", "k"),
    "attention": ("heads", "queries", "keys", "width"),
    "convolution": ("groups", "m", "n", "k"),
    "normalization": ("rows", "width"),
    "softmax": ("rows", "width"),
    "embedding": ("rows", "width", "vocabulary"),
    "optimizer": ("bytes", "tensors"),
}
BYTES_ALONE = ("bytes",)
_NO_KERNEL = ("view", "synchronise")
_FLOATS = ("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")
#: Elementwise operations whose arithmetic is a series or a division and not one instruction.
_HEAVY = frozenset(
    "gelu gelu_backward silu silu_backward sigmoid sigmoid_backward tanh tanh_backward exp "
    "expm1 log log1p log2 log10 log_sigmoid_forward "
    "log_sigmoid_backward erf erfc pow sin cos tan softplus softplus_backward mish "
    "mish_backward elu elu_backward selu xlogy logaddexp "
    "rsqrt sqrt reciprocal div remainder fmod floor_divide glu glu_backward acos asin atan "
    "atan2 sinh cosh erfinv polar".split()
)


class Term(NamedTuple):
    """Part of a call's work. ``features`` as ``FEATURES`` names them; each entry a number or an
    array [*points], as are ``flops`` and ``bytes``, what the part computes and moves."""

    family: str
    features: tuple
    flops: np.ndarray | float
    bytes: np.ndarray | float


def features_of(family: str) -> tuple[str, ...]:
    """Names of a family's features."""
    return FEATURES.get(family.partition(".")[0], BYTES_ALONE)


def terms(call: Call, flops, moved, precision: str = "fp32") -> list[Term]:
    """The terms of a call that does ``flops`` and moves ``moved`` bytes (of the registry's
    formula)."""
    kind = kind_of(call.signature.op)
    if kind in _NO_KERNEL:
        return []
    return _TERMS.get(kind, _streamed)(call, kind, flops, moved, precision)


def _product(call: Call, kind: str, flops, moved, precision: str) -> list[Term]:
    left, right, batch, m, n, k = product_of(call)
    second = "t" if call.signature.op.startswith("aten.linear.") else _orientation(right)
    return [
        Term(
            f"{kind}.{_orientation(left)}{second}.{_multiplied(left.dtype, precision)}",
            (batch, m, n, k),
            flops,
            moved,
        )
    ]


def _orientation(operand: Operand) -> str:
    return "t" if operand.layout == "t" else "n"


def _multiplied(dtype: str, precision: str) -> str:
    return "tf32" if dtype == "float32" and precision == "tf32" else dtype


def _attention(call: Call, kind: str, flops, moved, _precision: str) -> list[Term]:
    backward = BACKWARD in call.signature.op
    q, k = (call.inputs[1], call.inputs[2]) if backward else (call.inputs[0], call.inputs[1])
    queries, keys, width = call.shape(q)[-2], call.shape(k)[-2], call.shape(q)[-1]
    heads = call.numel(q) / np.maximum(queries * width, 1)
    masked = len(call.inputs) > (6 if backward else 3)
    mask = "masked" if masked else "causal" if call.signature.attr("causal") else "full"
    if call.signature.attr("dropout"):
        mask += "_dropout"  # other kernels, or none that is fused: a processor's knows no dropout
    return [
        Term(f"{kind}.{_pass(call)}.{mask}.{q.dtype}", (heads, queries, keys, width), flops, moved)
    ]


def _convolution(call: Call, kind: str, flops, moved, precision: str) -> list[Term]:
    """A term for each pass. What a call moves is shared by its passes; the sum for a bias's
    gradient is part of the last."""
    image, weight, _ = convolution_operands(call)
    groups, passes = float(call.signature.attr("groups", 1)), convolution_passes(call)
    shape = "depthwise" if is_depthwise(call) else "grouped" if groups > 1 else "dense"
    kernel = (
        int(np.max(np.prod([np.asarray(d) for d in call.shape(weight)[2:]], axis=0)))
        if len(weight.shape) > 2
        else 1
    )
    if shape == "dense" and kernel == 1:
        shape = "pointwise"
    layout = "cl" if image.layout == "cl" else "c"
    dtype = _multiplied(image.dtype, precision)
    share = 1.0 / max(1, len(passes))
    return [
        Term(
            f"{kind}.{p.name}.{shape}.{layout}.{dtype}",
            (groups, p.m, p.n, p.k),
            flops * share,
            moved * share,
        )
        for p in passes
    ]


def _rows(call: Call, kind: str, flops, moved, _precision: str) -> list[Term]:
    """Rows are normalised on their own: the last dimension's, or for a batch norm each
    channel's."""
    largest = _largest(call)
    what, name = "", call.signature.op.split(".")[1]
    width = call.shape(largest)[-1] if largest.shape else 1.0
    if kind == "normalization":
        what = (
            "batch."
            if "batch_norm" in name
            else "rms."
            if "rms" in name
            else "group."
            if "group" in name
            else "layer."
        )
        if what == "batch.":
            width = call.shape(largest)[1]
            what = (
                "batch_frozen."
                if call.signature.attr("training", call.signature.attr("train", True)) is False
                else what
            )
        shape = call.signature.attr("normalized_shape")
        width = float(np.prod(shape)) if shape else width
    elements = call.numel(largest)
    return [
        Term(
            f"{kind}.{what}{_pass(call)}.{largest.dtype}",
            (elements / np.maximum(width, 1), width),
            flops,
            moved,
        )
    ]


def _embedding(call: Call, kind: str, flops, moved, _precision: str) -> list[Term]:
    if BACKWARD in call.signature.op:
        gradient, table = call.inputs[0], call.outputs[0]
    else:
        gradient, table = call.outputs[0], call.inputs[0]
    width = call.shape(gradient)[-1]
    return [
        Term(
            f"{kind}.{_pass(call)}.{gradient.dtype}",
            (call.numel(gradient) / np.maximum(width, 1), width, call.shape(table)[0]),
            flops,
            moved,
        )
    ]


def _optimizer(call: Call, kind: str, flops, moved, _precision: str) -> list[Term]:
    name = call.signature.op.split(".")[1]
    # in fresh memory, or in place
    how = (
        "fused"
        if "fused" in name
        else "blockwise"
        if "blockwise" in name
        else "foreach_new"
        if call.outputs
        else "foreach"
    )
    tensors = max((sum(o.count for o in side) for side in (call.inputs, call.outputs)), default=1)
    operands = call.inputs or call.outputs
    return [
        Term(
            f"{kind}.{how}.{operands[0].dtype if operands else 'float32'}",
            (moved, float(tensors)),
            flops,
            moved,
        )
    ]


def _streamed(call: Call, kind: str, flops, moved, _precision: str) -> list[Term]:
    name = call.signature.op.split(".")[1].rstrip("_")
    parts = [kind]
    if kind == "elementwise":
        parts.append("heavy" if name in _HEAVY else "light")
    elif kind == "copy":
        parts.append("cast" if name == "_to_copy" else "plain")
    elif kind == "reduction":
        parts.append(_reduced(call, name))
    elif kind in ("random", "gather", "loss", "dequantize"):
        parts.append(name)
    if kind in ("elementwise", "copy"):
        parts.append(_contiguity(call))
    return [Term(".".join([*parts, _widest(call)]), (moved,), flops, moved)]


def _reduced(call: Call, name: str) -> str:
    """``inner``: the last dimension; ``outer``: others, each column's sum; ``all``; else the
    operation's name."""
    if name not in (
        "sum",
        "mean",
        "amax",
        "amin",
        "max",
        "min",
        "argmax",
        "argmin",
        "all",
        "any",
        "prod",
        "linalg_vector_norm",
    ):
        return name
    dim = call.signature.attr("dim")
    if dim is None or not call.inputs:
        return "all"
    dims, rank = dim if isinstance(dim, (tuple, list)) else (dim,), len(call.inputs[0].shape)
    return (
        "all"
        if len(dims) in (0, rank)
        else "inner"
        if any(d in (-1, rank - 1) for d in dims)
        else "outer"
    )


def _contiguity(call: Call) -> str:
    return (
        "strided"
        if any(o.layout in ("s", "t") and not o.expanded for o in (*call.inputs, *call.outputs))
        else "dense"
    )


def _pass(call: Call) -> str:
    return "backward" if BACKWARD in call.signature.op else "forward"


def _largest(call: Call) -> Operand:
    return max((*call.outputs[:1], *call.inputs), key=lambda o: (len(o.shape), o.dtype in _FLOATS))


def _widest(call: Call) -> str:
    """The type of the operand with the most dimensions, a floating one first: what the kernel is
    made for."""
    operands = (*call.inputs, *call.outputs)
    return (
        max(operands, key=lambda o: (o.dtype in _FLOATS, len(o.shape))).dtype
        if operands
        else "float32"
    )


_TERMS: dict[str, Callable] = {
    "matmul": _product,
    "attention": _attention,
    "convolution": _convolution,
    "normalization": _rows,
    "softmax": _rows,
    "embedding": _embedding,
    "optimizer": _optimizer,
}
