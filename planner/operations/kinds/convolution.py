"""Convolutions: dense, pointwise, depthwise and grouped, in both layouts, over images and over
sound; each pass on its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from planner.operations.call import Call, Cost, Number, names
from planner.operations.cases import Case, case, precision_of, tensor_type
from planner.operations.kind import Operation, OperationKind, Rates, SuiteDevice, Term
from planner.operations.products import joined
from planner.operations.shapes import (
    convolution_operands,
    convolution_passes,
    is_depthwise,
    is_winograd,
    multiplied_type,
)
from planner.trace.table import Operand

# ---- formulas


def _flops(call: Call, image: Operand, weight: Operand, out: Operand) -> np.ndarray:
    """2 × weight elements of one output channel × output elements; a transposed one is its mirror
    image."""
    anchor = image if call.signature.attr("transposed", False) else out
    return 2 * call.numel(anchor) * call.numel(weight) / call.shape(weight)[0]


def _convolution(call: Call) -> Cost:
    return Cost(
        _flops(call, call.inputs[0], call.inputs[1], call.outputs[0]),
        call.read_all,
        call.write_all,
    )


def _convolution_backward(call: Call) -> Cost:
    """One pass as costly as the forward for each of the gradients of image and weight that
    ``output_mask`` asks for, and a sum over the output's gradient for the bias. Each pass reads its
    two operands."""
    grad, image, weight = call.inputs[:3]
    mask = tuple(call.signature.attr("output_mask", (True, True, False))) + (False,) * 3
    once = _flops(call, image, weight, grad)
    read = (
        mask[0] * call.read(grad, weight)
        + mask[1] * call.read(grad, image)
        + mask[2] * call.read(grad)
    ) + call.zero
    return Cost(once * (mask[0] + mask[1]) + mask[2] * call.numel(grad), read, call.write_all)


# ---- family


def _terms(operation: Operation, precision: str) -> list[Term]:
    """A term for each pass. What a call moves is shared by its passes; the sum for a bias's
    gradient is part of the last."""
    call = operation.call
    image, _, _ = convolution_operands(call)
    passes = convolution_passes(call)
    layout = "cl" if image.layout == "cl" else "c"
    rest = f"{_form(call)}.{layout}.{multiplied_type(image.dtype, precision)}"
    share = 1.0 / max(1, len(passes))
    return [
        Term(
            f"{operation.kind.name}.{p.name}.{rest}",
            (_groups(call), p.m, p.n, p.k),
            operation.flops * share,
            operation.bytes * share,
        )
        for p in passes
    ]


def _groups(call: Call) -> float:
    return float(call.signature.attr("groups", 1))


def _form(call: Call) -> str:
    if is_depthwise(call):
        return "depthwise"
    if _groups(call) > 1:
        return "grouped"
    _, weight, _ = convolution_operands(call)
    if len(weight.shape) <= 2:
        return "pointwise"
    kernel = int(np.max(np.prod([np.asarray(d) for d in call.shape(weight)[2:]], axis=0)))
    return "pointwise" if kernel == 1 else "dense"


# ---- price


def _price(operation: Operation, device: Rates) -> Number:
    call, moved = operation.call, operation.bytes
    image, weight, _ = convolution_operands(call)
    latency = device.latency_seconds("convolution", call.signature)
    strided = image.layout != "cl" and len(image.shape) == 4
    way = "_backward" if call.is_backward else ""
    if is_depthwise(call):
        share = f"depthwise{'_strided' if strided else ''}{way}_share"
        carried = device.memory_seconds(moved, device.parameter("convolution", share))
        return np.maximum(carried, device.arithmetic_seconds(operation.flops)) + latency
    peak, tensor = device.peak(
        image.dtype, tf32_allowed=bool(device.parameter("convolution", "float32_is_tf32"))
    )
    peak *= device.parameter("convolution", "tensor_share" if tensor else "simt_share")
    if not tensor and device.is_cuda_like and is_winograd(call):
        return _winograd_seconds(operation, device, peak)
    compute = _product_seconds(operation, device, peak, tensor)
    # one product a group, or a kernel that packs narrow groups into a tile, whichever is faster
    if _groups(call) > 1 and tensor:
        full = device.parameter("convolution", "grouped_width")
        width = np.minimum(1.0, call.shape(weight)[1] / full)
        packed = device.parameter("convolution", f"grouped{way}_share")
        compute = np.minimum(compute, operation.flops / (peak * packed * width))
    share = device.parameter("convolution", "bandwidth_share")
    overlap = device.parameter("convolution", "overlap_power")
    seconds = joined(compute, device.memory_seconds(moved, share), overlap) + latency
    if tensor and strided:
        # kernels of tensor cores want channels last: images in the other order are copied into it
        # and back by kernels of their own (nchwToNhwcKernel)
        traffic = moved * device.parameter("convolution", f"transposed{way}_traffic")
        seconds = seconds + device.memory_seconds(
            traffic, device.parameter("copy", "bandwidth_share")
        )
    return seconds


def _product_seconds(
    operation: Operation, device: Rates, flops_per_s: float, tensor: bool
) -> Number:
    """Each pass as the product that it is computed as, by kernels of convolutions: their tiles are
    narrow too, for layers of few channels."""
    call = operation.call
    unit = device.unit(tensor, "convolution" if tensor else None)
    groups = _groups(call)
    return sum(
        (
            device.product_seconds(
                (groups, p.m, p.n, p.k), moved_bytes=0.0, flops_per_s=flops_per_s, unit=unit
            )
            for p in convolution_passes(call)
        ),
        call.zero,
    )


def _winograd_seconds(operation: Operation, device: Rates, flops_per_s: float) -> Number:
    """3×3 convolutions on the ordinary cores: fewer multiplications (Lavin and Gray 2016, arXiv
    1509.09308), for which image and weight are written in a transformed, larger form and read
    again. The depth is not cut among multiprocessors."""

    def parameter(name: str) -> float:
        return device.parameter("convolution", f"winograd_{name}")

    call, unit = operation.call, replace(device.unit(False), splits=False)
    passes = convolution_passes(call)
    weights, image = (call.read(o) for o in convolution_operands(call)[1::-1])
    traffic = parameter("weight_traffic") * weights + parameter("image_traffic") * image
    compute = sum(
        (
            device.product_seconds(
                (1.0, p.m, p.n, p.k),
                moved_bytes=operation.bytes / len(passes),
                flops_per_s=flops_per_s * parameter("ratio"),
                unit=unit,
            )
            for p in passes
        ),
        call.zero,
    )
    return compute + len(passes) * (traffic / device.bytes_per_s + parameter("seconds"))


# ---- suite

#: Of the time: grouped ones are rare, and each type of device has an order of dimensions that its
#: recipes use (traces of image models are channels-last).
_GROUPED_SHARE, _UNUSUAL_LAYOUT = 0.3, 0.4
_USUAL_LAYOUT = {"cuda": "cl", "mps": "c", "cpu": "cl"}


class Shape(NamedTuple):
    """``size`` is a side of the square image, or the length of a signal where ``rank`` is 1."""

    batch: int
    inputs: int
    outputs: int
    size: int
    kernel: int
    stride: int = 1
    groups: int = 1
    rank: int = 2


_DENSE = (
    (
        Shape(4, 3, 32, 64, 3, 2),
        Shape(2, 64, 64, 28, 3),
        Shape(4, 128, 128, 14, 3),
        Shape(2, 3, 64, 112, 7, 2),
        Shape(4, 256, 256, 7, 3),
        Shape(8, 16, 32, 32, 3),
        Shape(4, 3, 192, 96, 16, 16),
        Shape(2, 64, 128, 28, 3, 2),
    ),
    (
        Shape(32, 3, 64, 224, 7, 2),
        Shape(64, 64, 64, 56, 3),
        Shape(64, 128, 128, 28, 3),
        Shape(64, 256, 256, 14, 3),
        Shape(64, 512, 512, 7, 3),
        Shape(64, 3, 768, 224, 16, 16),
        Shape(16, 128, 256, 56, 3, 2),
        Shape(8, 320, 320, 64, 3),
        Shape(8, 64, 64, 56, 3),
        Shape(64, 3, 32, 224, 3, 2),
    ),
)
_POINTWISE = (
    (
        Shape(2, 64, 128, 28, 1),
        Shape(4, 16, 96, 56, 1),
        Shape(4, 256, 64, 14, 1),
        Shape(8, 320, 1280, 7, 1),
        Shape(4, 128, 512, 14, 1),
        Shape(8, 96, 24, 1, 1),
        Shape(2, 40, 240, 28, 1),
    ),
    (
        Shape(64, 64, 256, 56, 1),
        Shape(64, 256, 64, 56, 1),
        Shape(64, 512, 128, 28, 1),
        Shape(64, 1024, 256, 14, 1),
        Shape(64, 512, 2048, 7, 1),
        Shape(64, 16, 96, 112, 1),
        Shape(64, 1280, 320, 7, 1),
        Shape(64, 1152, 48, 1, 1),
        Shape(8, 256, 512, 56, 1, 2),
        Shape(64, 40, 240, 28, 1),
    ),
)
_DEPTHWISE = (
    (
        Shape(4, 32, 32, 56, 3, 1, 32),
        Shape(4, 96, 96, 28, 3, 2, 96),
        Shape(2, 144, 144, 28, 5, 1, 144),
        Shape(4, 384, 384, 7, 7, 1, 384),
        Shape(8, 240, 240, 14, 5, 1, 240),
    ),
    (
        Shape(64, 32, 32, 112, 3, 1, 32),
        Shape(64, 96, 96, 56, 7, 1, 96),
        Shape(64, 144, 144, 56, 3, 2, 144),
        Shape(64, 384, 384, 14, 7, 1, 384),
        Shape(64, 672, 672, 14, 5, 1, 672),
        Shape(64, 1152, 1152, 7, 5, 1, 1152),
        Shape(8, 192, 192, 56, 7, 1, 192),
    ),
)
_GROUPED = (
    (
        Shape(4, 64, 64, 28, 3, 1, 8),
        Shape(2, 128, 128, 14, 3, 1, 32),
        Shape(4, 32, 32, 56, 3, 1, 2),
        Shape(8, 48, 48, 14, 3, 2, 3),
    ),
    (
        Shape(64, 128, 128, 56, 3, 1, 32),
        Shape(64, 256, 256, 28, 3, 1, 32),
        Shape(64, 512, 512, 14, 3, 1, 32),
        Shape(64, 1024, 1024, 7, 3, 1, 32),
        Shape(32, 48, 48, 56, 3, 2, 2),
    ),
)
_SOUND = (
    (
        Shape(2, 80, 128, 300, 3, 1, 1, 1),
        Shape(2, 128, 128, 300, 3, 2, 1, 1),
        Shape(1, 1, 64, 8000, 10, 5, 1, 1),
        Shape(2, 64, 64, 1600, 3, 2, 1, 1),
        Shape(1, 128, 128, 200, 16, 1, 8, 1),
        Shape(2, 128, 256, 200, 1, 1, 1, 1),
    ),
    (
        Shape(8, 80, 768, 3000, 3, 1, 1, 1),
        Shape(8, 768, 768, 3000, 3, 2, 1, 1),
        Shape(8, 1, 512, 80000, 10, 5, 1, 1),
        Shape(8, 512, 512, 16000, 3, 2, 1, 1),
        Shape(8, 768, 768, 500, 128, 1, 16, 1),
        Shape(16, 80, 384, 3000, 3, 1, 1, 1),
        Shape(8, 512, 1024, 500, 1, 1, 1, 1),
    ),
)


def _suite(device: SuiteDevice) -> Iterator[Case]:
    """Every shape's forward pass and its two gradients; images in channels-last order and not,
    sound as it comes."""
    images = [
        s for sizes in (_DENSE, _POINTWISE, _DEPTHWISE, _GROUPED) for s in device.sizes(*sizes)
    ]
    for dtype in device.dtypes:
        for shape in images:
            yield from _passes(shape, "cl", dtype)
            yield from _passes(shape, "c", dtype)
        for shape in device.sizes(*_SOUND):
            yield from _passes(shape, "c", dtype)


def _passes(shape: Shape, layout: str, dtype: str) -> Iterator[Case]:
    """Forward, gradient of the image, gradient of the weight."""
    element, precision = tensor_type(dtype), precision_of(dtype)
    padding = 0 if shape.kernel == shape.stride else shape.kernel // 2
    after = (shape.size + 2 * padding - shape.kernel) // shape.stride + 1
    image = (
        (shape.batch, shape.inputs, *(shape.size,) * shape.rank),
        element,
        _told_apart(layout, shape.size, shape.inputs),
    )
    weight = (
        (shape.outputs, shape.inputs // shape.groups, *(shape.kernel,) * shape.rank),
        element,
        _weight_layout(shape, layout),
    )
    result = (
        (shape.batch, shape.outputs, *(after,) * shape.rank),
        element,
        _told_apart(layout, after, shape.outputs),
    )
    attributes: dict[str, Any] = {
        "dilation": (1,) * shape.rank,
        "groups": shape.groups,
        "output_padding": (0,) * shape.rank,
        "padding": (padding,) * shape.rank,
        "stride": (shape.stride,) * shape.rank,
        "transposed": False,
    }
    yield case(
        "aten.convolution.default", [image, weight], [result], precision=precision, **attributes
    )
    for mask, made in (((True, False, False), image), ((False, True, False), weight)):
        yield case(
            "aten.convolution_backward.default",
            [result, image, weight],
            [made],
            precision=precision,
            bias_sizes=(0,),
            output_mask=mask,
            **attributes,
        )


def _told_apart(layout: str, size: int, channels: int) -> str:
    """One position or one channel lies the same in both orders, and traces call that contiguous."""
    return "c" if size == 1 or channels == 1 else layout


def _weight_layout(shape: Shape, layout: str) -> str:
    return _told_apart(layout, shape.kernel, shape.inputs // shape.groups)


def _emphasis(parts: tuple[str, ...], device_type: str) -> float:
    """``parts``: pass, form, layout, type."""
    return (_GROUPED_SHARE if parts[1] == "grouped" else 1.0) * (
        1.0 if parts[2] == _USUAL_LAYOUT[device_type] else _UNUSUAL_LAYOUT
    )


KIND = OperationKind(
    name="convolution",
    place=30,
    formulas={
        **dict.fromkeys(
            names(
                "convolution _convolution cudnn_convolution conv2d conv1d conv3d "
                "convolution_overrideable miopen_convolution _slow_conv2d_forward"
            ),
            _convolution,
        ),
        "aten.convolution_backward": _convolution_backward,
    },
    price=_price,
    terms=_terms,
    suite=_suite,
    features=("groups", "m", "n", "k"),
    weights={"": 3.0},
    emphasis=_emphasis,
    model_work=True,
    tiled=True,
)
