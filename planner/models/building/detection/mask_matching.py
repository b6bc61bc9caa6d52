"""The matching of MaskFormer, Mask2Former and their kin (``*HungarianMatcher`` of transformers
5.23) for all images at once: what the library computes image by image in a loop. Import only where
torch is wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from planner.models.building.detection.operations import assigned

#: Of ``pair_wise_sigmoid_focal_loss``.
ALPHA, GAMMA = 0.25, 2.0
Pairs = list[tuple[torch.Tensor, torch.Tensor]]


def replacements() -> dict[str, Callable[..., Pairs]]:
    """Class of the library → the forward pass that stands for its own."""
    sampled = ("Mask2Former", "OneFormer", "Eomt", "EomtDinov3", "Videomt")
    names = {f"{family}HungarianMatcher": _at_points for family in sampled}
    return names | {"MaskFormerHungarianMatcher": _at_pixels}


def _at_points(
    self: Any,
    masks_queries_logits: torch.Tensor,
    class_queries_logits: torch.Tensor,
    mask_labels: list[torch.Tensor],
    class_labels: list[torch.Tensor],
) -> Pairs:
    """Masks compared at sampled points: cross entropy and overlap."""
    with torch.no_grad():
        images, queries = masks_queries_logits.shape[:2]
        targets = mask_labels[0].to(masks_queries_logits)[:, None]
        points = torch.rand(1, self.num_points, 2, device=targets.device)
        wanted = _sampled(targets, points).view(images, -1, self.num_points)
        found = _sampled(masks_queries_logits.flatten(0, 1)[:, None], points)
        found = found.view(images, queries, self.num_points)
        one, zero = torch.ones_like(found), torch.zeros_like(found)
        positive = _cross_entropy(found, one) / self.num_points
        negative = _cross_entropy(found, zero) / self.num_points
        shape = wanted.transpose(1, 2)
        pixels = torch.matmul(positive, shape) + torch.matmul(negative, 1 - shape)
        return _assigned(self, pixels, found, wanted, class_queries_logits, class_labels[0])


def _at_pixels(
    self: Any,
    masks_queries_logits: torch.Tensor,
    class_queries_logits: torch.Tensor,
    mask_labels: list[torch.Tensor],
    class_labels: list[torch.Tensor],
) -> Pairs:
    """Masks compared at every pixel of the prediction: focal loss and overlap."""
    with torch.no_grad():
        images = len(masks_queries_logits)
        side = masks_queries_logits.shape[-2:]
        targets = functional.interpolate(mask_labels[0][:, None], size=side, mode="nearest")
        wanted = targets.view(images, -1, side.numel())
        found = masks_queries_logits.flatten(2)
        share = found.sigmoid()
        positive = ((1 - share) ** GAMMA) * _cross_entropy(found, torch.ones_like(found))
        negative = (share**GAMMA) * _cross_entropy(found, torch.zeros_like(found))
        positive *= ALPHA
        negative *= 1 - ALPHA
        shape = wanted.transpose(1, 2)
        pixels = torch.matmul(positive, shape) + torch.matmul(negative, 1 - shape)
        pixels = pixels / side.numel()
        return _assigned(self, pixels, found, wanted, class_queries_logits, class_labels[0])


def _assigned(
    self: Any,
    pixels: torch.Tensor,
    found: torch.Tensor,
    wanted: torch.Tensor,
    classes: torch.Tensor,
    labels: torch.Tensor,
) -> Pairs:
    """Costs [B, queries, n] of pixels, overlap and class, and whom they assign to whom."""
    share = found.sigmoid()
    both = 2 * torch.matmul(share, wanted.transpose(1, 2))
    either = share.sum(-1)[..., None] + wanted.sum(-1)[:, None]
    overlap = 1 - (both + 1) / (either + 1)
    index = labels.view(len(classes), 1, -1).expand(-1, classes.shape[1], -1)
    kind = -classes.softmax(-1).gather(2, index)
    costs = self.cost_mask * pixels + self.cost_class * kind + self.cost_dice * overlap
    costs = torch.nan_to_num(costs, nan=torch.finfo(costs.dtype).max).cpu()
    every = costs.transpose(0, 1).flatten(1)
    return [(assigned(every), torch.arange(every.shape[-1], device=every.device))]


def _sampled(masks: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """[N, P]: masks [N, 1, h, w] at the same points."""
    grid = 2.0 * points.repeat(len(masks), 1, 1).unsqueeze(2) - 1.0
    return functional.grid_sample(masks, grid, align_corners=False).squeeze(3).squeeze(1)


def _cross_entropy(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return functional.binary_cross_entropy_with_logits(found, wanted, reduction="none")
