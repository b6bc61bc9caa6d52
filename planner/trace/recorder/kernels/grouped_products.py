"""Grouped matrix products (a mixture's experts) on meta, in every type that CUDA multiplies.

torch's kernel on meta takes bfloat16 alone, CUDA's takes float32 and float16 too: on Hopper and
later bfloat16 runs as one kernel, everything else as one product an expert
(``_grouped_mm_cuda`` of ``aten/src/ATen/native/cuda/GroupedBlas.cpp``, torch 2.13). Shapes and
saved tensors are the same, so one operation is recorded for both. Import this module only where
torch is wanted.
"""

from __future__ import annotations

import torch

BYTES_ALIGNED = 16  # rows of a result start at multiples of it


def _grouped_mm_meta(mat_a, mat_b, offs=None, bias=None, out_dtype=None):
    """An uninitialised result of two-dimensional rows against a matrix an expert, or of the
    products an expert that are its gradient."""
    size = _result_size(mat_a, mat_b, offs)
    dtype = out_dtype or mat_a.dtype
    aligned = BYTES_ALIGNED // dtype.itemsize
    width = -(-size[-1] // aligned) * aligned
    strides = [size[1] * width, width, 1] if len(size) > 2 else [width, 1]
    return torch.empty_strided(size, strides, dtype=dtype, device=mat_a.device)


def _result_size(a: torch.Tensor, b: torch.Tensor, offsets: torch.Tensor | None) -> list[int]:
    """As ``create_grouped_gemm_output_tensor`` has it. Raises TypeError and ValueError as CUDA
    refuses."""
    if a.dtype != b.dtype or not a.is_floating_point():
        raise TypeError(f"a grouped product of {a.dtype} and {b.dtype}")
    if a.dim() == b.dim() == 2 and offsets is not None:
        return [offsets.shape[0], a.shape[0], b.shape[1]]
    if a.shape[-1] != b.shape[-2]:
        raise ValueError(f"a grouped product of {tuple(a.shape)} and {tuple(b.shape)}")
    if a.dim() == 2:
        return [a.shape[0], b.shape[-1]]
    return [a.shape[1], b.shape[1]] if b.dim() == 2 else [a.shape[0], a.shape[1], b.shape[-1]]


_LIBRARY = torch.library.Library("aten", "IMPL")
if hasattr(torch.ops.aten, "_grouped_mm"):  # from torch 2.7 on
    _LIBRARY.impl("_grouped_mm", _grouped_mm_meta, "Meta")
