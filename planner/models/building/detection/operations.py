"""Operations of detectors that CUDA runs as kernels of their own and the meta device cannot run:
declared here with shapes and gradients, so that a trace records what the device does.

Shapes follow torchvision's CUDA kernels (``torchvision/csrc/ops/cuda/roi_align_kernel.cu``,
``nms_kernel.cu``) and torch's ``nonzero``. Import this module only where torch is wanted.
"""

from __future__ import annotations

import torch
from torch.overrides import handle_torch_function, has_torch_function

_LIBRARY = torch.library.Library("planner", "FRAGMENT")
_LIBRARY.define("nonzero(Tensor mask, int rows) -> Tensor")
_LIBRARY.define("nms(Tensor boxes, Tensor scores, int kept) -> Tensor")
_LIBRARY.define("roi_align(Tensor x, Tensor rois, int height, int width, int samples) -> Tensor")
_LIBRARY.define("roi_align_backward(Tensor grad, Tensor rois, int[] shape, int samples) -> Tensor")
_LIBRARY.define("assignment(Tensor costs) -> Tensor")


def positions(mask: torch.Tensor, rows: int) -> torch.Tensor:
    """int64 [rows]: where a mask is true, ``rows`` places of it. Stands for ``nonzero`` and for
    ``torch.where`` with one argument, for which the host waits: a mode sees this function by its
    name."""
    if has_torch_function((mask,)):
        return handle_torch_function(positions, (mask,), mask, rows)
    return torch.ops.planner.nonzero(mask, rows)


def assigned(costs: torch.Tensor) -> torch.Tensor:
    """int64 [n]: which query each of n objects gets, from costs [queries, n]. Stands for scipy's
    assignment on the host, with the copies there and back; the host waits where the costs are
    fetched."""
    return torch.ops.planner.assignment(costs)


def counted_as(tensor: torch.Tensor, rows: dict[int, int] | None) -> torch.Tensor:
    """From here on ``nonzero`` of a mask of so many dimensions finds so many places an image (None:
    it is refused again). A mode sees this function by its name; without one nothing happens."""
    if has_torch_function((tensor,)):
        return handle_torch_function(counted_as, (tensor,), tensor, rows)
    return tensor


def taken_as(tensor: torch.Tensor, number: float | None) -> torch.Tensor:
    """From here on ``item()`` gives this number (None: it is refused again). A mode sees this
    function by its name; without one nothing happens."""
    if has_torch_function((tensor,)):
        return handle_torch_function(taken_as, (tensor,), tensor, number)
    return tensor


def picked(tensor: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """[rows, …]: elements of [B, N, …], B and N seen as one, by an index into them."""
    return tensor.flatten(0, 1)[index]


def suppressed(boxes: torch.Tensor, scores: torch.Tensor, kept: int) -> torch.Tensor:
    """int64 [B, kept]: what non-maximum suppression keeps of boxes [B, N, 4] with scores [B, N]."""
    return torch.ops.planner.nms(boxes.float(), scores.float(), kept)


def roi_align(
    features: torch.Tensor, rois: torch.Tensor, size: tuple[int, int], samples: int
) -> torch.Tensor:
    """[K, C, *size]: regions [K, 5] of features [B, C, H, W], in float32 under autocast as
    torchvision casts, and for types that its kernel does not take."""
    out = torch.ops.planner.roi_align(features.float(), rois.float(), *size, samples)
    return out.to(features.dtype)


# ---- shapes


def _nonzero(mask: torch.Tensor, rows: int) -> torch.Tensor:
    return mask.new_empty(rows, dtype=torch.int64)


def _nms(boxes: torch.Tensor, _scores: torch.Tensor, kept: int) -> torch.Tensor:
    return boxes.new_empty(boxes.shape[0], kept, dtype=torch.int64)


def _roi_align(
    x: torch.Tensor, rois: torch.Tensor, height: int, width: int, _samples: int
) -> torch.Tensor:
    return x.new_empty(rois.shape[0], x.shape[1], height, width)


def _roi_align_backward(
    grad: torch.Tensor, _rois: torch.Tensor, shape: list[int], _samples: int
) -> torch.Tensor:
    return grad.new_empty(shape)


def _assignment(costs: torch.Tensor) -> torch.Tensor:
    return costs.new_empty(costs.shape[-1], dtype=torch.int64)


def _save(ctx, inputs, output) -> None:  # torch's own protocol: no types there
    x, rois, _, _, ctx.samples = inputs
    ctx.save_for_backward(rois)
    ctx.shape = list(x.shape)


def _gradient(ctx, grad):
    (rois,) = ctx.saved_tensors
    dx = torch.ops.planner.roi_align_backward(grad, rois, ctx.shape, ctx.samples)
    return dx, None, None, None, None


for _name, _kernel in {
    "nonzero": _nonzero,
    "nms": _nms,
    "roi_align": _roi_align,
    "roi_align_backward": _roi_align_backward,
    "assignment": _assignment,
}.items():
    _LIBRARY.impl(_name, _kernel, "Meta")
torch.library.register_autograd("planner::roi_align", _gradient, setup_context=_save, lib=_LIBRARY)
