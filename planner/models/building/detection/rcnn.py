"""The training step of torchvision's Faster, Mask and Keypoint R-CNN for all images at once
(``rpn.py``, ``roi_heads.py`` of torchvision 0.28). Import only where torch is wanted."""

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
    matched,
    of_object,
    overlaps,
    resized_masks,
)
from planner.models.building.detection.operations import (
    picked,
    positions,
    roi_align,
    suppressed,
)

SMOOTH = 1 / 9  # beta of the library's smooth L1 losses of boxes


def loss(model: Any, batch: Batch) -> torch.Tensor:
    """The sum of the losses that the model returns in training."""
    view = canvas(model, batch)
    features = features_of(model, view.images)
    proposals, first = _proposals(model.rpn, view, features)
    heads = _Heads(model.roi_heads, view, features, proposals)
    parts = [*first, *heads.box_losses()]
    if model.roi_heads.has_mask():
        parts.append(heads.mask_loss(resized_masks(batch["masks"], view.size)))
    if model.roi_heads.has_keypoint():
        parts.append(heads.keypoint_loss(batch["keypoints"]))
    return sum(parts[1:], parts[0])


# ---- region proposals


def _proposals(
    rpn: Any, view: Canvas, features: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """``RegionProposalNetwork.forward``: (proposals [B, P, 4], its two losses)."""
    from torchvision.models.detection.rpn import concat_box_prediction_layers

    maps = list(features.values())
    objectness, deltas = rpn.head(maps)
    anchors = anchors_of(rpn.anchor_generator, view, maps)
    levels = [level[0].numel() for level in objectness]
    objectness, deltas = concat_box_prediction_layers(objectness, deltas)
    boxes = rpn.box_coder.decode_single(deltas.detach(), anchors.reshape(-1, 4))
    boxes = boxes.view(anchors.shape)
    kept = _filtered(rpn, boxes, objectness.detach().view(boxes.shape[:2]), levels, view)
    return kept, _proposal_losses(rpn, view, anchors, objectness.flatten(), deltas)


def _filtered(
    rpn: Any, boxes: torch.Tensor, scores: torch.Tensor, levels: list[int], view: Canvas
) -> torch.Tensor:
    """``filter_proposals``: the best of each level, without small ones and near doubles."""
    from torchvision.ops import boxes as of

    number = [torch.full((n,), i, device=boxes.device) for i, n in enumerate(levels)]
    level = torch.cat(number).expand_as(scores)
    tops = [
        part.topk(min(rpn.pre_nms_top_n(), part.shape[1]), dim=1).indices
        for part in scores.split(levels, 1)
    ]
    index, rows = torch.cat(tops, dim=1), torch.arange(len(boxes), device=boxes.device)[:, None]
    scores, level, boxes = (tensor[rows, index] for tensor in (scores, level, boxes))
    scores = torch.sigmoid(scores)
    boxes = of.clip_boxes_to_image(boxes, view.size)
    sides = boxes[..., 2:] - boxes[..., :2]
    for keep in ((sides >= rpn.min_size).all(dim=-1), scores >= rpn.score_thresh):
        index = positions(keep, keep.numel())  # all of them: the bounds are next to nothing
        boxes, scores, level = (
            picked(tensor, index).view(tensor.shape) for tensor in (boxes, scores, level)
        )
    offsets = level.to(boxes) * (boxes.amax() + 1)
    kept = min(rpn.post_nms_top_n(), boxes.shape[1])
    keep = suppressed(boxes + offsets[..., None], scores, kept)
    return boxes[rows, keep]


def _proposal_losses(
    rpn: Any, view: Canvas, anchors: torch.Tensor, objectness: torch.Tensor, deltas: torch.Tensor
) -> list[torch.Tensor]:
    """``assign_targets_to_anchors`` and ``compute_loss``."""
    matches = matched(overlaps(view.boxes, anchors), rpn.proposal_matcher)
    boxes = of_object(view.boxes, matches)
    labels = (matches >= 0).float()
    labels.masked_fill_(matches == rpn.proposal_matcher.BELOW_LOW_THRESHOLD, 0.0)
    labels.masked_fill_(matches == rpn.proposal_matcher.BETWEEN_THRESHOLDS, -1.0)
    targets = encoded(rpn.box_coder, boxes, anchors)
    chosen, positive = sampled(rpn.fg_bg_sampler, labels)
    boxes_loss = functional.smooth_l1_loss(
        deltas[positive], targets[positive], beta=SMOOTH, reduction="sum"
    )
    labels = labels.flatten()
    return [
        functional.binary_cross_entropy_with_logits(objectness[chosen], labels[chosen]),
        boxes_loss / chosen.numel(),
    ]


def sampled(sampler: Any, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """``BalancedPositiveNegativeSampler`` on labels [B, N] at its limits: (all chosen, the positive
    ones), as indices into B·N."""
    images, chosen = labels.shape[0], min(sampler.batch_size_per_image, labels.shape[1])
    most = int(chosen * sampler.positive_fraction)
    found = []
    for mask, number in ((labels >= 1, most), (labels == 0, chosen - most)):
        candidates = positions(mask, images * number)
        order = torch.randperm(candidates.numel(), device=labels.device)
        taken = torch.zeros_like(labels, dtype=torch.uint8)
        taken.view(-1)[candidates[order]] = 1
        found.append(positions(taken, images * number))
    return torch.cat(found), found[0]


# ---- regions of interest


class _Heads:
    """``RoIHeads.forward``: proposals with the objects' own boxes, matched and sampled, and the
    losses of the heads."""

    def __init__(
        self,
        heads: Any,
        view: Canvas,
        features: dict[str, torch.Tensor],
        proposals: torch.Tensor,
    ):
        self.heads, self.view, self.features = heads, view, features
        proposals = torch.cat((proposals, view.boxes.to(proposals.dtype)), dim=1)
        matches = matched(overlaps(view.boxes, proposals), heads.proposal_matcher)
        labels = of_object(view.labels, matches)
        labels.masked_fill_(matches == heads.proposal_matcher.BELOW_LOW_THRESHOLD, 0)
        labels.masked_fill_(matches == heads.proposal_matcher.BETWEEN_THRESHOLDS, -1)
        chosen, positive = sampled(heads.fg_bg_sampler, labels)
        self.positive = positive.numel()  # of all images
        self.boxes, self.labels = picked(proposals, chosen), picked(labels, chosen)
        self.matches = picked(matches.clamp(min=0), chosen)
        self.targets = encoded(
            heads.box_coder, picked(of_object(view.boxes, matches), chosen), self.boxes
        )

    def box_losses(self) -> list[torch.Tensor]:
        """``fastrcnn_loss``."""
        pooled = self.pooled(self.heads.box_roi_pool, self.boxes)
        scores, deltas = self.heads.box_predictor(self.heads.box_head(pooled))
        index = positions(self.labels > 0, self.positive)
        deltas = deltas.reshape(len(scores), -1, 4)[index, self.labels[index]]
        boxes = functional.smooth_l1_loss(deltas, self.targets[index], beta=SMOOTH, reduction="sum")
        return [functional.cross_entropy(scores, self.labels), boxes / self.labels.numel()]

    def mask_loss(self, masks: torch.Tensor) -> torch.Tensor:
        """``maskrcnn_loss`` with masks uint8 [B, n, H, W]."""
        boxes, labels, matches = self._positives()
        heads = self.heads
        found = heads.mask_predictor(heads.mask_head(self.pooled(heads.mask_roi_pool, boxes)))
        side = found.shape[-1]
        regions = torch.cat([matches[:, None].to(boxes), boxes], dim=1)
        targets = roi_align(masks.flatten(0, 1)[:, None].to(boxes), regions, (side, side), -1)
        rows = torch.arange(len(labels), device=labels.device)
        return functional.binary_cross_entropy_with_logits(found[rows, labels], targets[:, 0])

    def keypoint_loss(self, keypoints: torch.Tensor) -> torch.Tensor:
        """``keypointrcnn_loss`` with keypoints [B, n, K, 3], all of them visible."""
        from torchvision.models.detection.roi_heads import keypoints_to_heatmap

        boxes, _, matches = self._positives()
        heads = self.heads
        pooled = self.pooled(heads.keypoint_roi_pool, boxes)
        found = heads.keypoint_predictor(heads.keypoint_head(pooled))
        count, points, side = found.shape[0], found.shape[1], found.shape[-1]
        targets, valid = keypoints_to_heatmap(picked(keypoints, matches), boxes, side)
        index = positions(valid.view(-1).to(torch.uint8), count * points)
        found = found.view(count * points, side * side)
        return functional.cross_entropy(found[index], targets.view(-1)[index])

    def _positives(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        index = positions(self.labels > 0, self.positive)
        return self.boxes[index], self.labels[index], self.matches[index]

    def pooled(self, pool: Any, boxes: torch.Tensor) -> torch.Tensor:
        """``MultiScaleRoIAlign.forward``: regions spread evenly over the levels."""
        maps = [self.features[name] for name in pool.featmap_names if name in self.features]
        rois = torch.cat([torch.full_like(boxes[:, :1], 0), boxes], dim=1)
        if len(maps) == 1:
            return roi_align(maps[0], rois, pool.output_size, pool.sampling_ratio)
        level = _level(boxes, pool, len(maps))
        size = (len(boxes), maps[0].shape[1], *pool.output_size)
        out = torch.zeros(size, dtype=maps[0].dtype, device=boxes.device)
        for number, features in enumerate(maps):
            index = positions(level == number, len(boxes) // len(maps))
            part = roi_align(features, rois[index], pool.output_size, pool.sampling_ratio)
            out[index] = part.to(out.dtype)
        return out


def _level(boxes: torch.Tensor, pool: Any, levels: int) -> torch.Tensor:
    """``LevelMapper``: the level of each box, by the root of its area."""
    from torchvision.ops.boxes import box_area

    side = torch.sqrt(box_area(boxes)) / pool.canonical_scale
    level = torch.floor(pool.canonical_level + torch.log2(side))
    return level.clamp(0, levels - 1).to(torch.int64)
