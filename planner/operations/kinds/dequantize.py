"""Weights stored in few bits back in 16, scales that were themselves quantised, and rows of a
layer's input in 8 bits (bitsandbytes' kernels; other methods' by what they read and write)."""

from __future__ import annotations

from collections.abc import Iterator

from planner.operations import streams
from planner.operations.bench import Bench, Run, Substitute, bitsandbytes
from planner.operations.call import names
from planner.operations.cases import Case, case
from planner.operations.kind import OperationKind, SuiteDevice

# bitsandbytes' blocks of 4-bit weights and of their scales, as
# ``planner/models/quantization/stored.py``
_BLOCK, _NESTED_BLOCK = 64, 256


def _suite(device: SuiteDevice) -> Iterator[Case]:
    dtype = "bfloat16" if "bfloat16" in device.dtypes else device.plain_dtypes[0]
    for rows, width in device.sizes(*streams.WEIGHTS):
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


def _dequantize_4bit(bench: Bench) -> Run:
    import torch

    library, signature = bitsandbytes(), bench.case.signature
    weight = torch.randn(
        list(signature.attr("shape")),
        dtype=bench.dtype(signature.attr("dtype")),
        device=bench.device,
    )
    packed, state = library.functional.quantize_4bit(weight, blocksize=_BLOCK, quant_type="nf4")
    return lambda: library.functional.dequantize_4bit(packed, state)


def _dequantize_blockwise(bench: Bench) -> Run:
    import torch

    library = bitsandbytes()
    scales = torch.rand(bench.slots[0].shape, device=bench.device)
    packed, state = library.functional.quantize_blockwise(scales, blocksize=_NESTED_BLOCK)
    return lambda: library.functional.dequantize_blockwise(packed, state)


def _dequantize(bench: Bench) -> Run:
    """What is stored is read as bytes, a scale a row multiplied in: one pass over both."""
    import torch

    signature = bench.case.signature
    shape, dtype = list(signature.attr("shape")), bench.dtype(signature.attr("dtype"))
    stored = torch.randint(-8, 8, shape, dtype=torch.int8, device=bench.device)
    scales = torch.rand([*shape[:-1], 1], dtype=dtype, device=bench.device)
    return lambda: torch.mul(stored, scales)


def _quantize_rows(bench: Bench) -> Run:
    import torch

    library = bitsandbytes()
    rows = torch.randn(bench.slots[0].shape, dtype=torch.float16, device=bench.device)
    return lambda: library.functional.int8_vectorwise_quant(rows)


KIND = OperationKind(
    name="dequantize",
    place=140,
    formulas=dict.fromkeys(
        names("dequantize_4bit dequantize_blockwise dequantize quantize_rows", "planner"),
        streams.touched_once,
    ),
    price=streams.price,
    terms=streams.named_terms,
    suite=_suite,
    weights={"": 1.0},
    substitutes={
        "planner.dequantize_4bit": Substitute(_dequantize_4bit),
        "planner.dequantize_blockwise": Substitute(_dequantize_blockwise),
        "planner.dequantize": Substitute(_dequantize),
        "planner.quantize_rows": Substitute(_quantize_rows),
    },
)
