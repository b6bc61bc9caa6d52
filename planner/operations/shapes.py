"""The sizes that the time of an operation depends on: a product's rows, columns and depth, a
convolution's passes.

Shared by the datasheet's efficiencies and the curves of a calibrated device.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from planner.operations.call import Call, Number
from planner.trace.table import Operand

_WITH_BIAS = frozenset(
    ("addmm", "baddbmm", "addmv", "addbmm", "_addmm_activation", "addmm_", "baddbmm_")
)


#: Products of a loss that is fused with its head, chunk by chunk.
LOSS_PRODUCTS = ("loss_logits", "loss_hidden_gradient", "loss_weight_gradient")


class Product(NamedTuple):
    """``batch`` products (m × k)·(k × n); each a number or an array [*points]."""

    left: Operand
    right: Operand
    batch: Number
    m: Number
    n: Number
    k: Number


def product_of(call: Call) -> Product:
    """The product that a matrix operation computes."""
    name = call.name
    if name in LOSS_PRODUCTS:
        return _loss_product(call)
    first = 1 if name in _WITH_BIAS and len(call.inputs) > 2 else 0
    left, right = call.inputs[first], call.inputs[first + 1]
    rows, columns = call.shape(left), call.shape(right)
    k = rows[-1] if rows else 1.0
    n = columns[0] if name == "linear" else columns[-1] if len(columns) > 1 else 1.0
    m = rows[-2] if len(rows) > 1 else 1.0
    if name == "_grouped_mm":
        return _grouped_product(call, left, right, m, n, k)
    batch = call.numel(left) / np.maximum(m * k, 1)
    if len(columns) <= 2 and len(rows) > 2:  # one matrix for all: the leading dimensions are rows
        m, batch = m * batch, 1.0
    return Product(left, right, batch, m, n, k)


def _loss_product(call: Call) -> Product:
    """Of hidden states [tokens, width] and a head's weight [vocabulary, width]: logits, or the
    gradient of either."""
    hidden, weight = call.inputs[:2]
    width, vocabulary = call.shape(hidden)[-1], call.shape(weight)[0]
    tokens = call.numel(hidden) / np.maximum(width, 1)
    m, n, k = {
        "loss_logits": (tokens, vocabulary, width),
        "loss_hidden_gradient": (tokens, width, vocabulary),
        "loss_weight_gradient": (vocabulary, width, tokens),
    }[call.name]
    return Product(hidden, weight, 1.0, m, n, k)


def _grouped_product(
    call: Call, left: Operand, right: Operand, m: Number, n: Number, k: Number
) -> Product:
    """A product an expert, over an even share of the rows each."""
    result = call.shape(call.outputs[0])
    if len(result) > 2:  # the weights' gradients: the rows are what is summed over
        return Product(left, right, result[0], m, n, k / result[0])
    experts = call.shape(right)[0] if len(call.shape(right)) > 2 else 1.0
    return Product(left, right, experts, m / experts, n, k)


class Pass(NamedTuple):
    """One pass of a convolution as the product it is computed as, for each of ``groups``: (m ×
    k)·(k × n)."""

    name: str  # forward, grad_input, grad_weight
    m: Number
    n: Number
    k: Number


def convolution_operands(call: Call) -> tuple[Operand, Operand, Operand]:
    """(image, weight, result) of a convolution or of its backward pass, where the result is its
    gradient."""
    if call.is_backward:
        return call.inputs[1], call.inputs[2], call.inputs[0]
    return call.inputs[0], call.inputs[1], call.outputs[0]


def convolution_passes(call: Call) -> list[Pass]:
    """The passes that a call makes: the forward one, or those that a backward's ``output_mask``
    asks for."""
    image, weight, result = convolution_operands(call)
    shape, groups = call.shape(weight), float(call.signature.attr("groups", 1))
    kernel = np.prod([np.asarray(d) for d in shape[2:]], axis=0) if len(shape) > 2 else 1.0
    inside, outside = shape[1], shape[0] / groups
    transposed = call.signature.attr("transposed", False)
    if transposed:
        inside, outside = shape[0] / groups, shape[1]
    # positions
    ins, outs = call.numel(image) / (inside * groups), call.numel(result) / (outside * groups)
    anchor = ins if transposed else outs
    if not call.is_backward:
        return [Pass("forward", anchor, outside, inside * kernel)]
    mask = tuple(call.signature.attr("output_mask", (True, True, False))) + (False, False)
    passes = (
        Pass("grad_input", anchor, inside, outside * kernel),
        Pass("grad_weight", outside, inside * kernel, anchor),
    )
    return [p for p, wanted in zip(passes, mask) if wanted]


def is_depthwise(call: Call) -> bool:
    """Whether every group of a convolution reads one channel."""
    _, weight, _ = convolution_operands(call)
    return (
        float(call.signature.attr("groups", 1)) > 1 and float(np.max(call.shape(weight)[1])) == 1.0
    )


def is_winograd(call: Call) -> bool:
    """Whether Winograd's algorithm computes a convolution with fewer multiplications: kernels of
    3×3 in single steps, without groups."""
    attr, shape = call.signature.attr, call.shape(convolution_operands(call)[1])
    three = len(shape) == 4 and all(float(np.max(d)) == 3.0 == float(np.min(d)) for d in shape[2:])
    return (
        three
        and attr("groups", 1) == 1
        and not attr("transposed", False)
        and all(set(attr(n, (1,))) == {1} for n in ("stride", "dilation"))
    )


def multiplied_type(dtype: str, precision: str) -> str:
    """What float32 is multiplied as: TF32 where the recipe allows it."""
    return "tf32" if dtype == "float32" and precision == "tf32" else dtype
