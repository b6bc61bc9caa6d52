"""Element by element: arithmetic, comparisons, activations."""

from __future__ import annotations

from collections.abc import Iterator

from planner.operations import streams
from planner.operations.bench import Bench, Contents, Run, Substitute
from planner.operations.call import names
from planner.operations.cases import Case, case
from planner.operations.kind import Operation, OperationKind, SuiteDevice, Term

_OPERATIONS = names(
    "_cdist_forward "
    "abs acos add addcdiv addcmul asin atan atan2 bitwise_and bitwise_not bitwise_or "
    "bitwise_xor ceil celu clamp clamp_max clamp_min cos cosh div elu "
    "elu_backward eq erf erfc erfinv exp expm1 floor floor_divide fmod ge gelu "
    "gelu_backward glu glu_backward gt hardshrink hardsigmoid "
    "hardsigmoid_backward hardswish hardswish_backward hardtanh hardtanh_backward isfinite "
    "isinf isnan isneginf isposinf le leaky_relu "
    "leaky_relu_backward lerp log log10 log1p log2 logical_and logical_not logical_or "
    "logical_xor log_sigmoid_forward log_sigmoid_backward "
    "logaddexp lt masked_fill maximum minimum mish mish_backward mul nan_to_num "
    "native_dropout_backward ne neg pow prelu _prelu_kernel "
    "_prelu_kernel_backward reciprocal relu relu6 remainder round rsqrt rsub selu sgn "
    "sigmoid sigmoid_backward sign silu silu_backward sin sinh "
    "softplus softplus_backward sqrt square sub tan tanh tanh_backward threshold "
    "threshold_backward tril triu trunc where xlogy fmax fmin "
    "__and__ __or__ __lshift__ __rshift__ bitwise_left_shift bitwise_right_shift bucketize "
    "searchsorted complex polar"
)
#: Those whose arithmetic is a series or a division and not one instruction.
_HEAVY = frozenset(
    "gelu gelu_backward silu silu_backward sigmoid sigmoid_backward tanh tanh_backward exp "
    "expm1 log log1p log2 log10 log_sigmoid_forward "
    "log_sigmoid_backward erf erfc pow sin cos tan softplus softplus_backward mish "
    "mish_backward elu elu_backward selu xlogy logaddexp "
    "rsqrt sqrt reciprocal div remainder fmod floor_divide glu glu_backward acos asin atan "
    "atan2 sinh cosh erfinv polar".split()
)


def _terms(operation: Operation, _precision: str) -> list[Term]:
    """``light``: an instruction or two an element; ``heavy``: a series or a division."""
    call = operation.call
    effort = "heavy" if call.name.rstrip("_") in _HEAVY else "light"
    return streams.term(operation, effort, streams.contiguity(call))


# ---- suite


def _suite(device: SuiteDevice) -> Iterator[Case]:
    """Float types over planes, heads and images; whole numbers over ids and masks."""
    for dtype in device.plain_dtypes:
        for rows, width in device.sizes(*streams.PLANES):
            yield from _on_planes(rows, width, dtype)
        for shape in device.sizes(*streams.HEADS):
            yield from _on_heads(shape, dtype)
        for shape in device.sizes(*streams.IMAGES):
            yield from _on_images(shape, dtype)
    for shape in device.sizes(*streams.IDS):
        yield from _on_ids(shape)
    for samples, length in device.sizes(*streams.MASKS):
        yield from _on_masks(samples, length)


def _on_planes(rows: int, width: int, dtype: str) -> Iterator[Case]:
    plane, row = ((1, rows, width), dtype), ((width,), dtype)
    yield case("aten.add.Tensor", [plane, plane], [plane])
    yield case("aten.mul.Tensor", [plane, row], [plane])
    yield case("aten.mul.Tensor", [plane], [plane], other=0.5)
    yield case("aten.threshold_backward.default", [plane, plane], [plane], threshold=0)
    yield case(
        "aten.native_dropout_backward.default",
        [plane, ((1, rows, width), "bool")],
        [plane],
        scale=1.1111111111111112,
    )
    yield case("aten.gelu.default", [plane], [plane])
    yield case("aten.gelu_backward.default", [plane, plane], [plane])
    yield case("aten.silu.default", [plane], [plane])
    yield case("aten.silu_backward.default", [plane, plane], [plane])
    yield case("aten.tanh.default", [plane], [plane])
    yield case("aten.pow.Tensor_Scalar", [plane], [plane], exponent=2)
    yield case("aten.rsqrt.default", [plane], [plane])


def _on_heads(shape: tuple[int, int, int, int], dtype: str) -> Iterator[Case]:
    """Rotary embeddings and other work on exchanged dimensions."""
    batch, length, heads, width = shape
    seen, angles = ((batch, heads, length, width), dtype, "s"), ((1, 1, length, width), dtype)
    half = ((batch, heads, length, width // 2), dtype, "s")
    yield case("aten.mul.Tensor", [seen, angles], [seen])
    yield case("aten.add.Tensor", [seen, seen], [seen])
    yield case("aten.neg.default", [half], [half])
    yield case("aten.div.Scalar", [seen], [seen], other=2.0)
    yield case("aten.gelu.default", [seen], [seen])


def _on_images(shape: tuple[int, int, int], dtype: str) -> Iterator[Case]:
    batch, channels, side = shape
    image, mean = ((batch, channels, side, side), dtype, "cl"), ((batch, channels, 1, 1), dtype)
    yield case("aten.add.Tensor", [image, image], [image])
    yield case("aten.mul.Tensor", [image, mean], [image])
    yield case("aten.silu.default", [image], [image])


def _on_ids(shape: tuple[int, int]) -> Iterator[Case]:
    """What becomes of token ids and attention masks before the first layer."""
    ids, mask, short = (shape, "int64"), (shape, "bool"), (shape, "int32")
    yield case("aten.add.Tensor", [ids, ids], [ids])
    yield case("aten.ne.Scalar", [ids], [mask], other=1)
    yield case("aten.mul.Tensor", [short, short], [short])
    yield case("aten.add.Tensor", [(shape, "int64", "s"), ids], [ids])


def _on_masks(samples: int, length: int) -> Iterator[Case]:
    square = ((samples, 1, length, length), "bool")
    yield case("aten.bitwise_and.Tensor", [square, square], [square])
    yield case(
        "aten.le.Tensor",
        [((1, 1, 1, length), "int64"), ((1, 1, length, 1), "int64")],
        [((1, 1, length, length), "bool")],
    )


# ---- substitute


def _dropout_backward(bench: Bench) -> Run:
    """Off CUDA the mask is kept in the input's type and multiplied."""
    import torch

    grad = bench.named("grad")["grad"]
    noise = bench.make(bench.slots[0], Contents("positive"))
    return lambda: torch.mul(grad, noise)


KIND = OperationKind(
    name="elementwise",
    place=80,
    formulas=dict.fromkeys(_OPERATIONS, streams.touched_once),
    price=streams.price,
    terms=_terms,
    suite=_suite,
    weights={"": 4.0, "light.dense": 6.0},
    substitutes={"aten.native_dropout_backward": Substitute(_dropout_backward, on_host_only=True)},
    fusable=True,
    shows="bandwidth",
)
