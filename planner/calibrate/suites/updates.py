"""The optimizer's step over lists of tensors, as foreach operations and as one fused kernel; 8-bit
steps and 4-bit weights."""

from __future__ import annotations

from collections.abc import Iterator

from planner.calibrate.suites.tier import Tier
from planner.devices.cases import Case, case

#: (tensors, elements of each): adapters, small models, large ones.
_LISTS = (
    (
        (1, 64),
        (1, 1 << 20),
        (4, 256),
        (8, 1 << 16),
        (40, 1 << 14),
        (60, 768),
        (148, 1 << 13),
        (16, 1 << 18),
        (200, 256),
    ),
    (
        (1, 4096),
        (1, 1 << 26),
        (4, 768),
        (16, 1 << 16),
        (60, 768 * 768),
        (120, 4096 * 16),
        (148, 1 << 18),
        (200, 1 << 20),
        (200, 768),
        (32, 1 << 24),
        (390, 1 << 18),
    ),
)
_WEIGHTS = (
    ((256, 256), (1024, 256), (768, 768), (2048, 512)),
    ((768, 768), (2048, 2048), (4096, 4096), (14336, 4096), (8192, 8192)),
)
_FEW = 8  # tensors that a recorder counts one by one; more equal ones are counted together
# bitsandbytes' blocks of 4-bit weights, of their scales, and of 8-bit states
_BLOCK, _NESTED_BLOCK, _STATE_BLOCK = 64, 256, 256


def cases(tier: Tier) -> Iterator[Case]:
    """Every operation of AdamW and of SGD with momentum; the fused AdamW; bitsandbytes' where it
    runs."""
    for dtype in tier.plain_dtypes:
        for tensors, elements in tier.sizes(*_LISTS):
            yield from foreach(tensors, elements, dtype)
            yield from fused(tensors, elements, dtype)
        for rows, width in tier.sizes(*_WEIGHTS) if tier.kind == "cuda" else ():
            yield from blockwise(rows * width, dtype)
    for rows, width in tier.sizes(*_WEIGHTS):
        yield from quantised(
            rows, width, "bfloat16" if "bfloat16" in tier.dtypes else tier.plain_dtypes[0]
        )


def foreach(tensors: int, elements: int, dtype: str) -> Iterator[Case]:
    def lists(count: int) -> list:
        return _listed(tensors * count, (elements,), dtype)

    yield case("aten._foreach_addcdiv_.ScalarList", lists(3))
    yield case("aten._foreach_mul_.Scalar", lists(1), scalar=0.9999999)
    yield case("aten._foreach_lerp_.Scalar", lists(2), weight=0.09999999999999998)
    yield case("aten._foreach_addcmul_.Scalar", lists(3), value=0.0010000000000000009)
    yield case("aten._foreach_sqrt.default", lists(1), lists(1))
    yield case("aten._foreach_div_.ScalarList", lists(1))
    yield case("aten._foreach_add_.Scalar", lists(1), scalar=1e-08)
    yield case("aten._foreach_add_.List", lists(2), alpha=-0.001)


def fused(tensors: int, elements: int, dtype: str) -> Iterator[Case]:
    """Parameters, gradients and two states of each, and a count of steps."""
    operands = _listed(4 * tensors, (elements,), dtype) + _listed(tensors, (), "float32")
    if 5 * tensors <= _FEW:
        state = [((elements,), dtype), ((elements,), dtype), ((), "float32")]
        operands = [((elements,), dtype)] * (2 * tensors) + state * tensors
    yield case("planner.fused_optimizer.default", operands, kind="adamw")


def blockwise(elements: int, dtype: str) -> Iterator[Case]:
    """bitsandbytes' 8-bit AdamW on one tensor: parameter, gradient, two states in bytes and their
    scales."""
    flat, state, scales = (
        ((elements,), dtype),
        ((elements,), "uint8"),
        ((-(-elements // _STATE_BLOCK),), "float32"),
    )
    yield case(
        "planner.blockwise_optimizer.default",
        [flat, flat, state, state, scales, scales],
        kind="adamw",
    )


def quantised(rows: int, width: int, dtype: str) -> Iterator[Case]:
    """A 4-bit weight back in 16 bits, and the scales that were themselves quantised."""
    blocks = rows * width // _BLOCK
    yield case(
        "planner.dequantize_4bit.default",
        [((rows * width // 2, 1), "uint8"), ((blocks,), "float32")],
        [((rows, width), dtype)],
        dtype=dtype,
        shape=(rows, width),
    )
    yield case(
        "planner.dequantize_blockwise.default",
        [((blocks,), "uint8"), ((-(-blocks // _NESTED_BLOCK),), "float32")],
        [((blocks,), "float32")],
    )


def _listed(count: int, shape: tuple[int, ...], dtype: str) -> list:
    """Equal tensors of a list argument as the recorder writes them down."""
    return [(shape, dtype)] * count if count <= _FEW else [(shape, dtype, "c", count)]
