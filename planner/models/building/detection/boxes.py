"""What torchvision's detectors share: images and boxes made ready, anchors, matching, box losses,
for all images of a batch at once.

Each function names the one of torchvision 0.28 (``models/detection``) that it stands for; what that
runs in a loop over images runs once here, over a batch. Import only where torch is wanted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from planner.models.building.detection.operations import positions
from planner.models.constants import constant

Batch = Mapping[str, Any]


@dataclass(frozen=True)
class Canvas:
    """Images as the model sees them: [B, 3, H, W] padded, the size [h, w] before padding, boxes
    [B, n, 4] in its pixels, labels [B, n]."""

    images: torch.Tensor
    size: tuple[int, int]
    boxes: torch.Tensor
    labels: torch.Tensor

    @property
    def padded(self) -> tuple[int, int]:
        return self.images.shape[-2], self.images.shape[-1]


def scaled(model: Any, height: int, width: int) -> tuple[int, int]:
    """[h, w] of an image after ``GeneralizedRCNNTransform.resize``, at its largest ``min_size``."""
    transform = model.transform
    if transform.fixed_size is not None:
        return transform.fixed_size[1], transform.fixed_size[0]
    scale = min(
        transform.min_size[-1] / min(height, width), transform.max_size / max(height, width)
    )
    return int(height * scale), int(width * scale)


def canvas(model: Any, batch: Batch) -> Canvas:
    """``GeneralizedRCNNTransform.forward``: normalised, resized, padded."""
    images, transform = batch["images"], model.transform
    mean, std = (
        torch.as_tensor(values, dtype=images.dtype, device=images.device)
        for values in (transform.image_mean, transform.image_std)
    )
    images = (images - mean[:, None, None]) / std[:, None, None]
    size = scaled(model, *images.shape[-2:])
    images = functional.interpolate(images, size=size, mode="bilinear", align_corners=False)
    step = transform.size_divisible
    padded = images.new_full((*images.shape[:2], *(-(-side // step) * step for side in size)), 0)
    padded[..., : size[0], : size[1]].copy_(images)
    ratios = [new / old for new, old in zip(size, batch["images"].shape[-2:], strict=True)]
    sides = zip(batch["boxes"].unbind(-1), (ratios[1], ratios[0]) * 2, strict=True)
    boxes = torch.stack([side * ratio for side, ratio in sides], dim=-1)
    _check_boxes(boxes)
    return Canvas(padded, size, boxes, batch["labels"])


def _check_boxes(boxes: torch.Tensor) -> None:
    """The library looks for boxes without area, and the host waits for the answer."""
    bool((boxes[..., 2:] <= boxes[..., :2]).any())


def resized_masks(masks: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """uint8 [B, n, h, w] as ``_resize_image_and_masks`` resizes them, by way of float32."""
    return functional.interpolate(masks.float(), size=size).byte()


def features_of(model: Any, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Feature maps by name, of a backbone with one or with several."""
    features = model.backbone(images)
    return {"0": features} if isinstance(features, torch.Tensor) else dict(features)


def anchors_of(generator: Any, view: Canvas, features: list[torch.Tensor]) -> torch.Tensor:
    """[B, A, 4]: the anchors of an image, copied for each, as the library concatenates them."""
    from torchvision.models.detection.image_list import ImageList

    one = generator(ImageList(view.images, [view.size]), features)[0]
    return one[None].repeat(view.images.shape[0], 1, 1)


def overlaps(boxes: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """[B, n, N]: ``box_iou`` of n objects with N boxes of each image."""
    from torchvision.ops import box_iou

    return box_iou(boxes, others)


def matched(quality: torch.Tensor, matcher: Any) -> torch.Tensor:
    """int64 [B, N]: ``Matcher.__call__`` on overlaps [B, n, N]: the object of each box, negative
    where it has none."""
    values, matches = quality.max(dim=1)
    found = matches.clone() if matcher.allow_low_quality_matches else None
    below = values < matcher.low_threshold
    between = (values >= matcher.low_threshold) & (values < matcher.high_threshold)
    matches.masked_fill_(below, matcher.BELOW_LOW_THRESHOLD)
    matches.masked_fill_(between, matcher.BETWEEN_THRESHOLDS)
    if found is not None:  # the best box of every object is matched whatever its overlap
        best = quality.max(dim=2).values
        _, count, width = quality.shape
        update = positions(quality == best[..., None], best.numel())
        update = update // (count * width) * width + update % width
        matches.view(-1)[update] = found.view(-1)[update]
    elif type(matcher).__name__ == "SSDMatcher":
        best = quality.max(dim=2).indices
        matches.scatter_(1, best, torch.arange(best.shape[1], device=best.device).expand_as(best))
    return matches


def of_object(tensor: torch.Tensor, matches: torch.Tensor) -> torch.Tensor:
    """[B, N, …]: what [B, n, …] says of the object that each of N boxes matches."""
    index = matches.clamp(min=0)
    rows = torch.arange(tensor.shape[0], device=tensor.device)[:, None]
    return tensor[rows, index]


def foreground_of(objects: int) -> int:
    """Anchors of an image that match one of its objects, in a detector without sampling."""
    return round(objects * constant("anchors_per_object"))


def encoded(coder: Any, boxes: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """``BoxCoder.encode`` of flat boxes [N, 4]."""
    return coder.encode_single(boxes.reshape(-1, 4), anchors.reshape(-1, 4))
