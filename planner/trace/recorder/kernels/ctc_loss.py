"""CTC's loss on meta, which torch has no kernel for there: shapes of its native CUDA kernel.

``aten/src/ATen/native/cuda/LossCTC.cu``: the forward pass keeps log α, (samples, frames, 2·longest
target + 1); the backward pass makes log β of that size and frees it. transformers switches cuDNN's
off (``loss_ctc.py``). Import this module only where torch is wanted.
"""

from __future__ import annotations

import torch


def _ctc_meta(log_probs, targets, input_lengths, target_lengths, blank=0, zero_infinity=False):
    """log_probs (frames, samples, classes); targets of one length, in one row or a row a sample."""
    frames, samples, _ = log_probs.shape
    longest = targets.shape[1] if targets.dim() > 1 else targets.numel() // samples
    return log_probs.new_empty(samples), log_probs.new_empty(samples, frames, 2 * longest + 1)


def _ctc_backward_meta(grad, log_probs, *_rest):
    return torch.empty_like(log_probs, memory_format=torch.contiguous_format)


_LIBRARY = torch.library.Library("aten", "IMPL")
for _name, _kernel in {"_ctc_loss": _ctc_meta, "_ctc_loss_backward": _ctc_backward_meta}.items():
    _LIBRARY.impl(f"{_name}.Tensor", _kernel, "Meta")
