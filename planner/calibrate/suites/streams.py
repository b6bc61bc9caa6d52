"""Operations whose time is that of moving their bytes: element by element, copies, reductions,
random numbers, look-ups, fills.

Each is timed over a wide range of sizes; operands have the number of dimensions and the layouts
that traces give them.
"""

from __future__ import annotations

from collections.abc import Iterator

from planner.calibrate.suites.tier import Tier
from planner.devices.cases import Case, case
from planner.trace.table import ITEMSIZE

#: Rows and width of the element-wise operands; the first are single numbers and rows, the last fill
#: memory.
_PLANES = (
    ((1, 1), (1, 768), (64, 64), (128, 256), (512, 768), (1576, 768), (2048, 1024), (4096, 1536)),
    (
        (1, 1),
        (1, 4096),
        (64, 768),
        (512, 768),
        (4096, 768),
        (6304, 768),
        (4096, 4096),
        (8192, 4096),
        (8192, 14336),
        (16384, 16384),
    ),
)
#: Heads as (samples, length, heads, width), seen with the length and the heads exchanged: what
#: attention's neighbours work on.
_HEADS = (
    ((1, 16, 4, 16), (2, 64, 4, 32), (4, 197, 3, 64), (4, 256, 8, 64), (8, 512, 12, 64)),
    (
        (1, 64, 4, 64),
        (2, 256, 14, 64),
        (8, 512, 12, 64),
        (4, 1024, 32, 128),
        (4, 4096, 32, 128),
        (16, 2048, 16, 128),
    ),
)
#: Token ids, masks and positions: (samples, length).
_IDS = (
    ((1, 16), (2, 64), (8, 128), (4, 512), (64, 512)),
    ((1, 64), (8, 512), (8, 2048), (64, 512), (32, 4096)),
)
_MASKS = (((1, 64), (1, 128), (2, 256), (4, 512)), ((1, 512), (2, 1024), (4, 2048), (1, 4096)))
_IMAGES = (
    ((4, 16, 32), (4, 64, 28), (2, 32, 112), (8, 320, 7)),
    ((64, 64, 112), (64, 256, 56), (64, 512, 28), (64, 1280, 7), (16, 128, 28)),
)


def cases(tier: Tier) -> Iterator[Case]:
    """Float types over planes, heads and images; whole numbers over ids and masks."""
    for dtype in tier.plain_dtypes:
        for rows, width in tier.sizes(*_PLANES):
            yield from elementwise(rows, width, dtype)
            yield from copies(rows, width, dtype)
            yield from reductions(rows, width, dtype)
            yield from others(rows, width, dtype)
        for shape in tier.sizes(*_HEADS):
            yield from on_heads(shape, dtype)
        for shape in tier.sizes(*_IMAGES):
            yield from on_images(shape, dtype)
    for shape in tier.sizes(*_IDS):
        yield from on_ids(shape)
    for samples, length in tier.sizes(*_MASKS):
        yield from on_masks(samples, length)


def elementwise(rows: int, width: int, dtype: str) -> Iterator[Case]:
    """``light``: an instruction or two an element; ``heavy``: a series or a division."""
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


def copies(rows: int, width: int, dtype: str) -> Iterator[Case]:
    plane = ((1, rows, width), dtype)
    for other in {
        "float32": ("bfloat16", "float16"),
        "bfloat16": ("float32",),
        "float16": ("float32",),
    }.get(dtype, ()):
        yield case("aten._to_copy.default", [plane], [((1, rows, width), other)], dtype=other)
    yield case("aten.clone.default", [plane], [plane])
    yield case("aten.cat.default", [plane, plane], [((1, rows, 2 * width), dtype)], dim=2)
    if rows > 1:
        yield case(
            "aten.select_backward.default",
            [((rows, width), dtype)],
            [((rows, 8, width), dtype)],
            dim=1,
            index=0,
        )


def reductions(rows: int, width: int, dtype: str) -> Iterator[Case]:
    """Over the last dimension, over the others (a bias's gradient), over all."""
    plane = ((rows, width), dtype)
    yield case("aten.mean.dim", [plane], [((rows, 1), dtype)], dim=(-1,), keepdim=True)
    yield case("aten.sum.dim_IntList", [plane], [((1, width), dtype)], dim=(0,), keepdim=True)
    yield case("aten.sum.default", [plane], [((), dtype)])


def others(rows: int, width: int, dtype: str) -> Iterator[Case]:
    plane = ((1, rows, width), dtype)
    yield case(
        "aten.native_dropout.default",
        [plane],
        [plane, ((1, rows, width), "bool")],
        p=0.1,
        train=True,
    )
    yield case("aten.zeros.default", [], [plane], dtype=dtype)
    table, chosen, found = ((rows, width), dtype), ((rows,), "int64"), ((rows, width), dtype)
    yield case("aten.index.Tensor", [table, chosen], [found])
    yield case("aten.index_put.default", [table, chosen, found], [table], accumulate=True)
    if ITEMSIZE[dtype] == 4:
        yield case("aten.zeros.default", [], [((rows, width), "int64")], dtype="int64")


def on_heads(shape: tuple[int, int, int, int], dtype: str) -> Iterator[Case]:
    """Rotary embeddings and the copies around attention work on exchanged dimensions."""
    batch, length, heads, width = shape
    seen, lies, angles = (
        ((batch, heads, length, width), dtype, "s"),
        ((batch, heads, length, width), dtype),
        ((1, 1, length, width), dtype),
    )
    half = ((batch, heads, length, width // 2), dtype, "s")
    other = "bfloat16" if dtype == "float32" else "float32"
    yield case("aten.mul.Tensor", [seen, angles], [seen])
    yield case("aten.add.Tensor", [seen, seen], [seen])
    yield case("aten.neg.default", [half], [half])
    yield case("aten.div.Scalar", [seen], [seen], other=2.0)
    yield case("aten.gelu.default", [seen], [seen])
    yield case(
        "aten.clone.default",
        [((batch, length, heads, width), dtype, "s")],
        [((batch, length, heads, width), dtype)],
    )
    yield case("aten.cat.default", [half, half], [lies], dim=-1)
    yield case(
        "aten.slice_backward.default",
        [half],
        [lies],
        dim=3,
        start=width // 2,
        end=9223372036854775807,
        step=1,
    )
    yield case(
        "aten._to_copy.default", [seen], [((batch, heads, length, width), other, "s")], dtype=other
    )


def on_images(shape: tuple[int, int, int], dtype: str) -> Iterator[Case]:
    """Element-wise work, pooling and the means of squeeze-and-excitation on channels-last
    images."""
    batch, channels, side = shape
    image, mean = ((batch, channels, side, side), dtype, "cl"), ((batch, channels, 1, 1), dtype)
    yield case("aten.add.Tensor", [image, image], [image])
    yield case("aten.mul.Tensor", [image, mean], [image])
    yield case("aten.silu.default", [image], [image])
    yield case("aten.mean.dim", [image], [mean], dim=(2, 3), keepdim=True)
    after = (side + 1) // 2
    pooled, places = (
        ((batch, channels, after, after), dtype, "cl"),
        ((batch, channels, after, after), "int64", "cl"),
    )
    plain = {"kernel_size": (3, 3), "padding": (1, 1), "stride": (2, 2)}
    yield case("aten.max_pool2d_with_indices.default", [image], [pooled, places], **plain)
    yield case(
        "aten.max_pool2d_with_indices_backward.default",
        [pooled, image, places],
        [image],
        ceil_mode=False,
        dilation=(1, 1),
        **plain,
    )


def on_ids(shape: tuple[int, int]) -> Iterator[Case]:
    """What becomes of token ids and attention masks before the first layer."""
    batch, length = shape
    ids, mask, short = (shape, "int64"), (shape, "bool"), (shape, "int32")
    yield case("aten.add.Tensor", [ids, ids], [ids])
    yield case("aten.ne.Scalar", [ids], [mask], other=1)
    yield case("aten.clone.default", [ids], [ids])
    yield case("aten._to_copy.default", [ids], [short], dtype="int32")
    yield case("aten._to_copy.default", [mask], [short], dtype="int32")
    yield case("aten._to_copy.default", [short], [ids], dtype="int64")
    yield case("aten.mul.Tensor", [short, short], [short])
    yield case(
        "aten.constant_pad_nd.default",
        [ids],
        [((batch, length + 1), "int64")],
        pad=(0, 1),
        value=-100.0,
    )
    yield case("aten.gather.default", [((batch, 2 * length), "int64"), ids], [ids], dim=1)
    yield case("aten.all.default", [mask], [((), "bool")])
    yield case("aten.cumsum.default", [mask], [ids], dim=-1)
    yield case("aten.cumsum.default", [short], [ids], dim=1)
    yield case("aten.argmax.default", [short], [((batch,), "int64")], dim=-1)
    yield case("aten.clone.default", [((batch, length), "int64", "s")], [ids])
    yield case("aten.add.Tensor", [((batch, length), "int64", "s"), ids], [ids])
    yield case("aten.full_like.default", [ids], [ids], fill_value=15)


def on_masks(samples: int, length: int) -> Iterator[Case]:
    """Attention masks as they are put together from positions: booleans of length × length."""
    square = ((samples, 1, length, length), "bool")
    yield case("aten.bitwise_and.Tensor", [square, square], [square])
    yield case(
        "aten.le.Tensor",
        [((1, 1, 1, length), "int64"), ((1, 1, length, 1), "int64")],
        [((1, 1, length, length), "bool")],
    )
    yield case(
        "aten._to_copy.default",
        [square],
        [((samples, 1, length, length), "float32")],
        dtype="float32",
    )
    yield case("aten.zeros.default", [], [square], dtype="bool")
