"""Convolutions: dense, pointwise, depthwise and grouped, in both layouts, over images and over
sound; each pass on its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from planner.calibrate.suites.tier import Tier, precision, tensor_type
from planner.devices.cases import Case, case


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


def cases(tier: Tier) -> Iterator[Case]:
    """Every shape's forward pass and its two gradients; images in channels-last order and not,
    sound as it comes."""
    images = [s for sizes in (_DENSE, _POINTWISE, _DEPTHWISE, _GROUPED) for s in tier.sizes(*sizes)]
    for dtype in tier.dtypes:
        for shape in images:
            yield from passes(shape, "cl", dtype)
            yield from passes(shape, "c", dtype)
        for shape in tier.sizes(*_SOUND):
            yield from passes(shape, "c", dtype)


def passes(shape: Shape, layout: str, dtype: str) -> Iterator[Case]:
    """Forward, gradient of the image, gradient of the weight."""
    kind, how = tensor_type(dtype), precision(dtype)
    padding = 0 if shape.kernel == shape.stride else shape.kernel // 2
    after = (shape.size + 2 * padding - shape.kernel) // shape.stride + 1
    image = (
        (shape.batch, shape.inputs, *(shape.size,) * shape.rank),
        kind,
        _told_apart(layout, shape.size, shape.inputs),
    )
    weight = (
        (shape.outputs, shape.inputs // shape.groups, *(shape.kernel,) * shape.rank),
        kind,
        _weight_layout(shape, layout),
    )
    result = (
        (shape.batch, shape.outputs, *(after,) * shape.rank),
        kind,
        _told_apart(layout, after, shape.outputs),
    )
    plain = {
        "dilation": (1,) * shape.rank,
        "groups": shape.groups,
        "output_padding": (0,) * shape.rank,
        "padding": (padding,) * shape.rank,
        "stride": (shape.stride,) * shape.rank,
        "transposed": False,
    }
    yield case("aten.convolution.default", [image, weight], [result], precision=how, **plain)
    for mask, made in (((True, False, False), image), ((False, True, False), weight)):
        yield case(
            "aten.convolution_backward.default",
            [result, image, weight],
            [made],
            precision=how,
            bias_sizes=(0,),
            output_mask=mask,
            **plain,
        )


def _told_apart(layout: str, size: int, channels: int) -> str:
    """One position or one channel lies the same in both orders, and traces call that contiguous."""
    return "c" if size == 1 or channels == 1 else layout


def _weight_layout(shape: Shape, layout: str) -> str:
    return _told_apart(layout, shape.kernel, shape.inputs // shape.groups)
