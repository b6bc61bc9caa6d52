"""Which kernel CUDA picks for ``scaled_dot_product_attention``, and the plain products it runs
where no fused one fits.

The rules are those of ``sdp_utils.cpp`` and ``sdp_utils_cpp.h`` of torch 2.13 on compute capability
8.0 and newer. cuDNN's kernel, preferred on Hopper, takes no call that the two others would refuse
and saves the same tensors, so it is not told apart.
"""

from __future__ import annotations

import math

import torch

FLASH, EFFICIENT, MATH = "flash", "efficient", "math"
LARGEST_FLASH_HEAD = 256
#: The memory-efficient kernel's head sizes are multiples of 16 bytes; flash attention pads its own
#: to multiples of 8 elements.
EFFICIENT_ALIGNMENT_BYTES, FLASH_ALIGNMENT = 16, 8
#: Rows of a mask start at multiples of this many elements, or the mask is copied
#: (``preprocess_mask``).
MASK_ALIGNMENT = 16
LOW_PRECISION = (torch.float16, torch.bfloat16)


def backend(query, key, value, mask, grouped: bool) -> str:
    """One of FLASH, EFFICIENT, MATH for tensors (B, H, S, D). ``grouped``: keys may have fewer
    heads (``enable_gqa``), which the memory-efficient kernel does not take."""
    tensors = (query, key, value)
    if any(
        t.dim() != 4 or t.dtype != query.dtype or t.shape[0] != query.shape[0] or 0 in t.shape[2:]
        for t in tensors
    ):
        return MATH
    if any(t.stride(-1) != 1 and t.shape[-1] != 1 for t in tensors) or (
        mask is not None and mask.stride(-1) != 1 and mask.shape[-1] != 1
    ):
        return MATH
    heads = {t.shape[1] for t in tensors}
    widths = {t.shape[3] for t in tensors}
    groups = grouped and key.shape[1] == value.shape[1] and query.shape[1] % key.shape[1] == 0
    if (
        mask is None
        and query.dtype in LOW_PRECISION
        and len(widths) == 1
        and max(widths) <= LARGEST_FLASH_HEAD
        and (len(heads) == 1 or groups)
    ):
        return FLASH
    step = EFFICIENT_ALIGNMENT_BYTES // query.element_size()
    aligned = query.shape[3] == key.shape[3] and all(width % step == 0 for width in widths)
    if query.dtype in (*LOW_PRECISION, torch.float32) and len(heads) == 1 and aligned:
        return EFFICIENT
    return MATH


def fused(
    query, key, value, mask, dropout: float, causal: bool, kind: str, align_mask: bool
) -> torch.Tensor:
    """One kernel. Flash attention gets heads padded to a multiple of 8 and its output is cut back;
    the memory-efficient one gets a mask with aligned rows (``align_mask``: not where the rows'
    length is the batch's, which data loaders align)."""
    width = query.shape[-1]
    missing = -width % FLASH_ALIGNMENT if kind == FLASH else 0
    if missing:
        query, key, value = (torch.constant_pad_nd(t, (0, missing)) for t in (query, key, value))
    if (
        align_mask
        and kind == EFFICIENT
        and mask is not None
        and any(stride % MASK_ALIGNMENT for stride in mask.stride()[:-1])
    ):
        length = mask.shape[-1]
        mask = torch.constant_pad_nd(mask, (0, MASK_ALIGNMENT - length % MASK_ALIGNMENT))[
            ..., :length
        ]
    out, _ = torch.ops.planner.attention(query, key, value, mask, dropout, causal)
    return out[..., :width] if missing else out


def mathematics(
    query, key, value, mask, dropout: float, causal: bool, scale: float | None, grouped: bool
) -> torch.Tensor:
    """``_scaled_dot_product_attention_math``, in the order of its own code: 16-bit inputs are
    computed in float32."""
    kind = query.dtype
    if kind in LOW_PRECISION:
        query, key, value = query.float(), key.float(), value.float()
        mask = mask.float() if mask is not None else None
    root = math.sqrt(scale if scale and scale > 0 else 1 / math.sqrt(query.shape[-1]))
    query = query * root
    if causal:
        allowed = torch.ones(
            query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device
        ).tril()
        mask = _added(allowed, query.dtype)
    if grouped and query.shape[-3] != key.shape[-3]:
        times = query.shape[-3] // key.shape[-3]
        key, value = key.repeat_interleave(times, -3), value.repeat_interleave(times, -3)
    scores = torch.matmul(query, key.transpose(-2, -1) * root)
    if mask is not None:
        scores = scores.add_(mask)
    weights = torch.ops.aten._safe_softmax(scores, -1)
    if dropout > 0.0:
        weights = torch.native_dropout(weights, dropout, True)[0]
    # the function's second result, dropped by its caller: C++ makes it before the product
    returned = weights.to(kind)
    out = torch.matmul(weights, value).to(kind)
    del returned
    return out


def _added(allowed: torch.Tensor, kind: torch.dtype) -> torch.Tensor:
    """A boolean mask as numbers that are added to the scores (``convert_boolean_attn_mask``)."""
    zero, least = (
        torch.scalar_tensor(v, dtype=kind, device=allowed.device) for v in (0.0, -math.inf)
    )
    return torch.where(allowed, zero, least)


def additive(mask: torch.Tensor | None, kind: torch.dtype) -> torch.Tensor | None:
    return _added(mask, kind) if mask is not None and mask.dtype == torch.bool else mask
