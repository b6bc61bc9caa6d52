"""Matrix products as layers make them: the forward pass, the gradient of the input and that of the
weight; batched ones as attention without a fused kernel makes them; the thin ones of LoRA; the wide
ones of a vocabulary."""

from __future__ import annotations

from collections.abc import Iterator

from planner.calibrate.suites.tier import Tier, precision, tensor_type
from planner.devices.cases import Case, case

#: Rows are the tokens or positions of a batch: powers of two, and the odd counts that images and
#: audio give (197, 50, 1500).
_ROWS = (
    (8, 64, 197, 512, 1024, 2048, 4096),
    (64, 256, 1024, 1576, 2048, 4096, 6304, 8192, 12000, 16384, 32768),
)
#: Layers as (outputs, inputs).
_LAYERS = (
    (
        (64, 64),
        (128, 128),
        (256, 256),
        (768, 192),
        (192, 768),
        (512, 512),
        (1536, 512),
        (768, 768),
        (3072, 768),
        (768, 3072),
        (1024, 256),
        (2, 768),
        (1000, 512),
    ),
    (
        (384, 384),
        (768, 768),
        (3072, 768),
        (768, 3072),
        (1024, 1024),
        (2048, 2048),
        (1024, 4096),
        (4096, 4096),
        (11008, 4096),
        (4096, 14336),
        (8192, 8192),
        (28672, 8192),
        (5120, 1280),
        (1000, 2048),
    ),
)
#: LoRA's two layers at a width: down to the rank and up from it.
_ADAPTERS = (
    ((8, 256), (256, 8), (16, 768), (768, 16), (64, 512), (512, 64)),
    (
        (8, 2048),
        (2048, 8),
        (16, 4096),
        (4096, 16),
        (64, 4096),
        (4096, 64),
        (16, 768),
        (768, 16),
        (16, 14336),
    ),
)
_HEADS = (
    ((1000, 64), (8000, 256), (30522, 128), (50257, 64)),
    ((30522, 768), (32000, 2048), (50257, 768), (128256, 4096), (151936, 896)),
)
_HEAD_ROWS = ((16, 128, 512), (512, 2048, 4096, 8192))
#: Attention as batched products: (samples × heads, length, width of a head).
_BATCHED = (
    ((4, 64, 16), (16, 128, 32), (24, 197, 64), (48, 64, 64), (8, 512, 64)),
    (
        (96, 128, 64),
        (192, 512, 64),
        (384, 197, 64),
        (64, 1024, 128),
        (32, 2048, 128),
        (256, 50, 64),
        (16, 4096, 128),
        (768, 77, 64),
    ),
)
_WITH_BIAS = 3  # every third shape has a bias, added by the same kernel


def cases(tier: Tier) -> Iterator[Case]:
    """Cases of every type in three layouts each."""
    small_large = list(zip(_ROWS, _HEAD_ROWS, _LAYERS, _HEADS, _ADAPTERS))
    rows, head_rows, layers, heads, adapters = (tier.sizes(*pair) for pair in zip(*small_large))
    shapes = [(m, n, k) for n, k in [*layers, *adapters] for m in rows] + [
        (m, n, k) for n, k in heads for m in head_rows
    ]
    for dtype in tier.dtypes:
        for index, (m, n, k) in enumerate(shapes):
            yield from layer(m, n, k, dtype)
            if index % _WITH_BIAS == 0:
                yield from _biased(m, n, k, dtype)
        for shape in tier.sizes(*_BATCHED):
            yield from _attention(*shape, dtype)


def layer(rows: int, outputs: int, inputs: int, dtype: str) -> Iterator[Case]:
    """The three products of a linear layer's training step."""
    kind, how = tensor_type(dtype), precision(dtype)
    x, weight, grad = (rows, inputs), (outputs, inputs), (rows, outputs)
    yield case(
        "aten.mm.default",
        [(x, kind), ((inputs, outputs), kind, "t")],
        [(grad, kind)],
        precision=how,
    )
    yield case("aten.mm.default", [(grad, kind), (weight, kind)], [(x, kind)], precision=how)
    yield case(
        "aten.mm.default",
        [((outputs, rows), kind, "t"), (x, kind)],
        [(weight, kind)],
        precision=how,
    )


def _biased(rows: int, outputs: int, inputs: int, dtype: str) -> Iterator[Case]:
    """With a bias: a linear layer's weight lies transposed, GPT-2's as it is multiplied."""
    kind, how = tensor_type(dtype), precision(dtype)
    for layout in ("t", "c"):
        yield case(
            "aten.addmm.default",
            [((outputs,), kind), ((rows, inputs), kind), ((inputs, outputs), kind, layout)],
            [((rows, outputs), kind)],
            precision=how,
        )


def _attention(batch: int, length: int, width: int, dtype: str) -> Iterator[Case]:
    """Scores q·kᵀ, the sum p·v, and their gradients with respect to k and v."""
    kind, how = tensor_type(dtype), precision(dtype)
    q, scores = (batch, length, width), (batch, length, length)
    yield case(
        "aten.bmm.default",
        [(q, kind), ((batch, width, length), kind, "t")],
        [(scores, kind)],
        precision=how,
    )
    yield case("aten.bmm.default", [(scores, kind), (q, kind)], [(q, kind)], precision=how)
    yield case("aten.bmm.default", [(scores, kind, "t"), (q, kind)], [(q, kind)], precision=how)
