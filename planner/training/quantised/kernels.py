"""Operations that bring stored weights back to a type that multiplies, one for each kernel that a
GPU runs, on meta: shapes and lifetimes are the libraries', values are not computed.

4-bit NormalFloat with double quantisation is two kernels (Dettmers et al. 2023, QLoRA, arXiv
2305.14314, section 3; bitsandbytes ``dequantize_blockwise`` of the scales, ``dequantize_4bit``).
Every other method is read as one kernel that reads what is stored and writes the matrix:
``dequantize``. ``quantize_rows`` is LLM.int8()'s ``int8_vectorwise_quant`` of a layer's input.
"""

from __future__ import annotations

import torch

_LIBRARY = torch.library.Library("planner", "FRAGMENT")
_LIBRARY.define(
    "dequantize_4bit(Tensor packed, Tensor absmax, int[] shape, ScalarType dtype) -> Tensor"
)
_LIBRARY.define("dequantize_blockwise(Tensor absmax, Tensor nested) -> Tensor")
_LIBRARY.define("dequantize(Tensor[] stored, int[] shape, ScalarType dtype) -> Tensor")
_LIBRARY.define("quantize_rows(Tensor rows) -> (Tensor, Tensor)")
_LIBRARY.impl(
    "dequantize_4bit",
    lambda packed, absmax, shape, dtype: packed.new_empty(shape, dtype=dtype),
    "Meta",
)
_LIBRARY.impl(
    "dequantize_blockwise",
    lambda absmax, nested: absmax.new_empty(absmax.shape, dtype=torch.float32),
    "Meta",
)
_LIBRARY.impl(
    "dequantize",
    lambda stored, shape, dtype: stored[0].new_empty(shape, dtype=dtype),
    "Meta",
)
_LIBRARY.impl(
    "quantize_rows",
    lambda rows: (
        rows.new_empty(rows.shape, dtype=torch.int8),
        rows.new_empty(rows.shape[:-1], dtype=torch.float32),
    ),
    "Meta",
)


def dequantised(
    stored: dict[str, torch.Tensor], shape: list[int], dtype: torch.dtype
) -> torch.Tensor:
    """The matrix of ``shape`` that the tensors of one layer stand for, by name as
    ``Quantization.stored`` names them."""
    if "absmax" not in stored:
        return torch.ops.planner.dequantize(list(stored.values()), shape, dtype)
    scales = stored["absmax"]
    if "nested_absmax" in stored:
        scales = torch.ops.planner.dequantize_blockwise(scales, stored["nested_absmax"])
        scales = scales + stored["offset"]
    return torch.ops.planner.dequantize_4bit(stored["weight"], scales, shape, dtype)
