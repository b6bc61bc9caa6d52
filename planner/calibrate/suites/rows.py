"""Operations that work on rows: normalisations, softmax, the loss over a vocabulary, embeddings."""

from __future__ import annotations

from collections.abc import Iterator

from planner.calibrate.suites.tier import Tier
from planner.devices.cases import Case, case

#: Layer norms as (samples, length, width).
_NORMS = (
    (
        (4, 16, 64),
        (4, 64, 128),
        (8, 64, 256),
        (4, 197, 192),
        (8, 128, 512),
        (4, 197, 768),
        (8, 128, 768),
        (4, 512, 1024),
    ),
    (
        (8, 64, 768),
        (8, 512, 768),
        (32, 197, 768),
        (8, 77, 512),
        (8, 1500, 768),
        (32, 512, 1024),
        (4, 2048, 2048),
        (1, 2048, 4096),
        (4, 2048, 4096),
        (8, 2048, 4096),
        (4, 4096, 8192),
        (2, 1024, 5120),
    ),
)
#: Batch norms as (samples, channels, side).
_IMAGES = (
    ((4, 16, 32), (4, 64, 28), (2, 32, 112), (8, 128, 14), (8, 320, 7), (4, 512, 7), (4, 96, 28)),
    (
        (64, 64, 112),
        (64, 256, 56),
        (64, 512, 28),
        (64, 1024, 14),
        (64, 2048, 7),
        (64, 32, 112),
        (64, 96, 112),
        (16, 512, 7),
        (8, 128, 28),
    ),
)
_GROUPS = (
    ((2, 64, 32), (2, 128, 16), (4, 32, 28), (1, 256, 16)),
    ((8, 320, 64), (8, 640, 32), (8, 1280, 16), (2, 128, 256)),
)
_GROUP_COUNT = 32
#: Softmax as (rows, width): attention's probabilities and vocabularies.
_SOFTMAX = (
    (
        (64, 32),
        (512, 64),
        (2048, 128),
        (4 * 3 * 197, 197),
        (4096, 512),
        (64, 1000),
        (128, 8000),
        (128, 30522),
        (32, 50257),
    ),
    (
        (64 * 12 * 50, 50),
        (8 * 12 * 128, 128),
        (8 * 12 * 512, 512),
        (32 * 12 * 197, 197),
        (32 * 1024, 1024),
        (32 * 2048, 2048),
        (64, 1000),
        (512, 32000),
        (4096, 32000),
        (4096, 50257),
        (2048, 128256),
        (4096, 151936),
        (8192, 128256),
        (64, 2),
    ),
)
_LOSSES = (
    ((8, 2), (64, 1000), (256, 8000), (128, 30522), (64, 50257)),
    (
        (32, 2),
        (256, 1000),
        (512, 32000),
        (4096, 32000),
        (8192, 50257),
        (2048, 128256),
        (4096, 151936),
    ),
)
#: Embeddings as (samples, length, width, vocabulary).
_TABLES = (
    (
        (8, 64, 128, 30522),
        (4, 128, 256, 8000),
        (8, 128, 768, 512),
        (2, 64, 64, 1000),
        (16, 128, 512, 30522),
        (1, 256, 768, 50257),
        (8, 64, 768, 2),
    ),
    (
        (8, 128, 768, 30522),
        (32, 512, 768, 30522),
        (8, 512, 768, 512),
        (4, 1024, 2048, 32000),
        (1, 2048, 4096, 128256),
        (8, 1024, 4096, 128256),
        (4, 1024, 896, 151936),
        (32, 512, 768, 2),
        (8, 448, 768, 51865),
    ),
)


def cases(tier: Tier) -> Iterator[Case]:
    """Forward and backward of every kind in every type that tensors have."""
    for dtype in tier.plain_dtypes:
        for shape in tier.sizes(*_NORMS):
            yield from layer_norm(shape, dtype)
            yield from rms_norm(shape, dtype)
        for shape in tier.sizes(*_IMAGES):
            for layout in ("cl", "c"):
                yield from batch_norm(shape, layout, dtype)
        for shape in tier.sizes(*_GROUPS):
            yield from group_norm(shape, dtype)
        for rows, width in tier.sizes(*_SOFTMAX):
            yield from softmax(rows, width, dtype)
        for rows, width in tier.sizes(*_LOSSES):
            yield from loss(rows, width, dtype)
        for shape in tier.sizes(*_TABLES):
            yield from embedding(shape, dtype)


def layer_norm(shape: tuple[int, int, int], dtype: str) -> Iterator[Case]:
    x, width = (shape, dtype), shape[-1]
    weight, row = ((width,), dtype), ((*shape[:2], 1), "float32")
    yield case(
        "aten.native_layer_norm.default",
        [x, weight, weight],
        [x, row, row],
        normalized_shape=(width,),
        eps=1e-5,
    )
    yield case(
        "aten.native_layer_norm_backward.default",
        [x, x, row, row, weight, weight],
        [x, weight, weight],
        normalized_shape=(width,),
        output_mask=(True, True, True),
    )


def rms_norm(shape: tuple[int, int, int], dtype: str) -> Iterator[Case]:
    x, weight, row = (shape, dtype), ((shape[-1],), dtype), ((*shape[:2], 1), "float32")
    yield case("planner.rms_norm.default", [x, weight], [x, row], shape=(shape[-1],))
    yield case(
        "planner.rms_norm_backward.default", [x, x, row, weight], [x, weight], wanted=(True, True)
    )


def batch_norm(shape: tuple[int, int, int], layout: str, dtype: str) -> Iterator[Case]:
    """Statistics of the batch, as in training, and those kept, as in a frozen network; both
    gradients are of training."""
    batch, channels, side = shape
    x, each = ((batch, channels, side, side), dtype, layout), ((channels,), "float32")
    for training in (True, False):
        yield case(
            "aten.native_batch_norm.default",
            [x, each, each, each, each],
            [x, each, each],
            training=training,
            momentum=0.1,
            eps=1e-5,
        )
        yield case(
            "aten.native_batch_norm_backward.default",
            [x, x, *[each] * 5],
            [x, each, each],
            train=training,
            eps=1e-5,
            output_mask=(True, True, True),
        )


def group_norm(shape: tuple[int, int, int], dtype: str) -> Iterator[Case]:
    batch, channels, side = shape
    x, each, group = (
        ((batch, channels, side, side), dtype),
        ((channels,), dtype),
        ((batch, _GROUP_COUNT), dtype),
    )
    plain = {"N": batch, "C": channels, "HxW": side * side, "group": _GROUP_COUNT}
    yield case(
        "aten.native_group_norm.default", [x, each, each], [x, group, group], eps=1e-5, **plain
    )
    yield case(
        "aten.native_group_norm_backward.default",
        [x, x, group, group, each],
        [x, each, each],
        output_mask=(True, True, True),
        **plain,
    )


def softmax(rows: int, width: int, dtype: str) -> Iterator[Case]:
    x = ((rows, width), dtype)
    for name in ("_softmax", "_log_softmax"):
        yield case(f"aten.{name}.default", [x], [x], dim=-1, half_to_float=False)
        yield case(f"aten.{name}_backward_data.default", [x, x], [x], dim=-1, input_dtype=dtype)


def loss(rows: int, width: int, dtype: str) -> Iterator[Case]:
    table, target, one = ((rows, width), dtype), ((rows,), "int64"), ((), dtype)
    plain = {"ignore_index": -100, "reduction": 1}
    yield case("aten.nll_loss_forward.default", [table, target], [one, one], **plain)
    yield case("aten.nll_loss_backward.default", [one, table, target, one], [table], **plain)


def embedding(shape: tuple[int, int, int, int], dtype: str) -> Iterator[Case]:
    batch, length, width, vocabulary = shape
    table, rows, found = (
        ((vocabulary, width), dtype),
        ((batch, length), "int64"),
        ((batch, length, width), dtype),
    )
    yield case("aten.embedding.default", [table, rows], [found], padding_idx=-1)
    yield case(
        "aten.embedding_dense_backward.default",
        [found, rows],
        [table],
        num_weights=vocabulary,
        padding_idx=-1,
        scale_grad_by_freq=False,
    )
