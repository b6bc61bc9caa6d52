"""Fused attention: causal, full, with a mask, with grouped heads; forward and backward; heads of
several widths."""

from __future__ import annotations

from collections.abc import Iterator

from planner.calibrate.suites.tier import Tier
from planner.devices.cases import Case, case

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


def cases(tier: Tier) -> Iterator[Case]:
    """Forward and backward of every shape, in each of the three ways that a mask is given."""
    for dtype in (d for d in _STEP_DTYPES if d in tier.dtypes):
        for shape in tier.sizes(*_SELF):
            for how in ("causal", "full", "masked"):
                if how == "masked" and shape[1] != shape[2]:
                    continue  # the kernel that takes masks has no grouped heads
                yield from pair(shape, how, dtype)
        for shape in tier.sizes(*_WITH_DROPOUT):
            for how in ("full", "causal", "masked"):
                yield from pair(shape, how, dtype, dropout=0.1)
        for shape in tier.sizes(*_CROSS):
            yield from pair(shape, "full", dtype)


def pair(shape: tuple[int, ...], how: str, dtype: str, dropout: float = 0.0) -> Iterator[Case]:
    """The forward pass and the backward pass, on heads that lie between the positions as
    projections leave them."""
    batch, heads, shared, queries, keys, width = shape
    q, k = ((batch, heads, queries, width), dtype, "s"), ((batch, shared, keys, width), dtype, "s")
    mask = [((batch, 1, queries, keys), dtype, "c")] if how == "masked" else []
    sums = ((batch, heads, queries), "float32", "c")
    plain = {"causal": how == "causal", "dropout": dropout}
    yield case("planner.attention.default", [q, k, k, *mask], [q, sums], **plain)
    yield case(
        "planner.attention_backward.default",
        [q, q, k, k, *mask, q, sums],
        [q, k, k],
        mask_grad=False,
        **plain,
    )
