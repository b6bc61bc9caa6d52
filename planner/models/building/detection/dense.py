"""The training step of torchvision's RetinaNet, FCOS and SSD for all images at once
(``retinanet.py``, ``fcos.py``, ``ssd.py`` of torchvision 0.28). Import only where torch is
wanted."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from planner.models.building.detection.boxes import (
    Batch,
    Canvas,
    anchors_of,
    canvas,
    encoded,
    features_of,
    foreground_of,
    matched,
    of_object,
    overlaps,
)
from planner.models.building.detection.operations import picked, positions

Outputs = dict[str, torch.Tensor]


def loss(model: Any, batch: Batch) -> torch.Tensor:
    """The sum of the losses that the model returns in training."""
    view = canvas(model, batch)
    maps = list(features_of(model, view.images).values())
    outputs = model.head(maps)
    anchors = anchors_of(model.anchor_generator, view, maps)
    return LOSSES[type(model).__name__](model, view, outputs, anchors, maps)


def _foreground(mask: torch.Tensor, view: Canvas) -> torch.Tensor:
    """Where anchors [B, A] match an object, as indices into B·A."""
    return positions(mask, len(mask) * foreground_of(view.boxes.shape[1]))


def _retinanet(
    model: Any, view: Canvas, outputs: Outputs, anchors: torch.Tensor, _maps: list[torch.Tensor]
) -> torch.Tensor:
    """Both heads' ``compute_loss``; no anchor lies between the two thresholds of overlap."""
    from torchvision.models.detection._utils import _box_loss
    from torchvision.ops import sigmoid_focal_loss

    matches = matched(overlaps(view.boxes, anchors), model.proposal_matcher)
    logits = outputs["cls_logits"]
    index = _foreground(matches >= 0, view)
    labels = picked(of_object(view.labels, matches), index)
    targets = torch.zeros_like(logits)
    targets.view(-1, targets.shape[-1])[index, labels] = 1.0
    valid = positions(matches != -2, matches.numel())  # Matcher.BETWEEN_THRESHOLDS
    classes = sigmoid_focal_loss(picked(logits, valid), picked(targets, valid), reduction="sum")
    head = model.head.regression_head
    near, wanted = picked(anchors, index), picked(of_object(view.boxes, matches), index)
    found = picked(outputs["bbox_regression"], index)
    if head._loss_type == "giou":
        boxes = _overlap_loss(head.box_coder.decode_single(found, near), wanted)
    else:
        boxes = _box_loss(head._loss_type, head.box_coder, near, wanted, found)
    return (classes + boxes) / len(index)


def _fcos(
    model: Any, view: Canvas, outputs: Outputs, anchors: torch.Tensor, maps: list[torch.Tensor]
) -> torch.Tensor:
    """``FCOS.compute_loss`` and its head's."""
    from torchvision.ops import sigmoid_focal_loss

    matches = _centred(model, view, anchors, [m.shape[-2] * m.shape[-1] for m in maps])
    labels, boxes = of_object(view.labels, matches), of_object(view.boxes, matches)
    labels.masked_fill_(matches < 0, -1)
    logits, coder = outputs["cls_logits"], model.head.box_coder
    index = _foreground(labels >= 0, view)
    targets = torch.zeros_like(logits)
    targets.view(-1, targets.shape[-1])[index, picked(labels, index)] = 1.0
    classes = sigmoid_focal_loss(logits, targets, reduction="sum")
    found = coder.decode(outputs["bbox_regression"], anchors)
    overlap = _overlap_loss(picked(found, index), picked(boxes, index))
    sides = coder.encode(anchors, boxes)
    across, along = sides[:, :, [0, 2]], sides[:, :, [1, 3]]
    centre = torch.sqrt(
        (across.min(dim=-1)[0] / across.max(dim=-1)[0])
        * (along.min(dim=-1)[0] / along.max(dim=-1)[0])
    )
    centred = functional.binary_cross_entropy_with_logits(
        picked(outputs["bbox_ctrness"].squeeze(dim=2), index),
        picked(centre, index),
        reduction="sum",
    )
    return (classes + overlap + centred) / len(index)


def _overlap_loss(found: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """``generalized_box_iou_loss`` of boxes [N, 4], summed; every pair overlaps."""
    found, boxes = found.float(), boxes.float()
    x1, y1, x2, y2 = found.unbind(dim=-1)
    x1g, y1g, x2g, y2g = boxes.unbind(dim=-1)
    left, top = torch.max(x1, x1g), torch.max(y1, y1g)
    right, bottom = torch.min(x2, x2g), torch.min(y2, y2g)
    index = positions((bottom > top) & (right > left), len(x1))
    common = torch.zeros_like(x1)
    common[index] = (right[index] - left[index]) * (bottom[index] - top[index])
    union = (x2 - x1) * (y2 - y1) + (x2g - x1g) * (y2g - y1g) - common
    share = common / (union + EPSILON)
    width = torch.max(x2, x2g) - torch.min(x1, x1g)
    height = torch.max(y2, y2g) - torch.min(y1, y1g)
    around = width * height
    return (1 - (share - (around - union) / (around + EPSILON))).sum()


#: The library's, against dividing by nothing.
EPSILON = 1e-7


def _centred(model: Any, view: Canvas, anchors: torch.Tensor, levels: list[int]) -> torch.Tensor:
    """int64 [B, A]: the object of each point, by distance to its centre and by its size."""
    boxes = view.boxes
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2
    points = (anchors[..., :2] + anchors[..., 2:]) / 2
    sizes = anchors[..., 2] - anchors[..., 0]
    away = (points[:, :, None, :] - centres[:, None, :, :]).abs_().max(dim=3).values
    match = away < model.center_sampling_radius * sizes[..., None]
    x, y = points.unsqueeze(dim=3).unbind(dim=2)
    x0, y0, x1, y1 = boxes.unsqueeze(dim=1).unbind(dim=3)
    sides = torch.stack([x - x0, y - y0, x1 - x, y1 - y], dim=3)
    match &= sides.min(dim=3).values > 0
    lower, upper = sizes * 4, sizes * 8
    lower[:, : levels[0]] = 0
    upper[:, -levels[-1] :] = float("inf")
    longest = sides.max(dim=3).values
    match &= (longest > lower[..., None]) & (longest < upper[..., None])
    areas = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    values, found = (match.float() * (1e8 - areas[:, None, :])).max(dim=2)
    return found.masked_fill_(values < 1e-5, -1)


def _ssd(
    model: Any, view: Canvas, outputs: Outputs, anchors: torch.Tensor, _maps: list[torch.Tensor]
) -> torch.Tensor:
    """``SSD.compute_loss``: three negative boxes for each one that matches."""
    matches = matched(overlaps(view.boxes, anchors), model.proposal_matcher)
    index = _foreground(matches >= 0, view)
    boxes = functional.smooth_l1_loss(
        picked(outputs["bbox_regression"], index),
        encoded(
            model.box_coder, picked(of_object(view.boxes, matches), index), picked(anchors, index)
        ),
        reduction="sum",
    )
    labels = torch.zeros_like(matches)
    labels.view(-1)[index] = picked(of_object(view.labels, matches), index)
    logits = outputs["cls_logits"]
    classes = functional.cross_entropy(
        logits.view(-1, logits.shape[-1]), labels.view(-1), reduction="none"
    ).view(labels.shape)
    positive = labels > 0
    wanted = model.neg_to_pos_ratio * positive.sum(1, keepdim=True)
    negative = classes.clone().masked_fill_(positive, -float("inf"))
    order = negative.sort(1, descending=True).indices
    background = order.sort(1).indices < wanted
    rows = round(len(index) * model.neg_to_pos_ratio)
    hardest = picked(classes, positions(background, rows)).sum()
    return (boxes + picked(classes, _foreground(positive, view)).sum() + hardest) / len(index)


#: Class of the model → its losses.
LOSSES = {"RetinaNet": _retinanet, "FCOS": _fcos, "SSD": _ssd}
