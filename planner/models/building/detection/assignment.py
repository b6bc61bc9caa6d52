"""Losses of transformers that match predictions to objects on the host, traced without data.

The library's own code runs: its cost matrices are those of all images of a batch already. Some
things are in its way, and are replaced while a loss is computed: scipy's assignment (each object
gets some query), a list with one entry an image (one entry with the objects of all images: the same
tensors, fewer launches), and what is filled or compared image by image: RT-DETR's noisy copies of
the objects, MaskFormer's matching.
Import only where torch is wanted.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch

from planner.models.building.detection.mask_matching import replacements
from planner.models.building.detection.operations import assigned, positions, taken_as

SOLVER, NOISE = "linear_sum_assignment", "get_contrastive_denoising_training_group"
PER_IMAGE = ("class_labels", "boxes", "masks")


def objects_of(batch: Mapping[str, Any]) -> list[dict[str, torch.Tensor]]:
    """The library's ``labels`` of a batch whose objects are [B, n, …]: on meta one entry for all
    images, else one an image."""
    parts = {name: batch[name] for name in PER_IMAGE if name in batch}
    some = next(iter(parts.values()))
    if some.is_meta:
        return [{name: value.flatten(0, 1) for name, value in parts.items()}]
    return [{name: value[i] for name, value in parts.items()} for i in range(len(some))]


@contextlib.contextmanager
def without_data(like: torch.Tensor, count: int) -> Iterator[None]:
    """Inside, the library's losses run on meta tensors, with so many objects of each image;
    elsewhere nothing changes."""
    if not like.is_meta:
        yield
        return
    taken_as(like, float(count))
    noisy = partial(_noisy, count)
    try:
        with _replaced(SOLVER, _solved), _replaced(NOISE, noisy), _matchers_replaced():
            yield
    finally:
        taken_as(like, None)


@contextlib.contextmanager
def _replaced(name: str, by: Callable[..., Any]) -> Iterator[None]:
    """A function of that name replaced in every module of transformers that has it."""
    found = [
        (module, vars(module)[name])
        for key, module in list(sys.modules.items())
        if key.startswith("transformers.") and name in vars(module)
    ]
    for module, _ in found:
        setattr(module, name, by)
    try:
        yield
    finally:
        for module, own in found:
            setattr(module, name, own)


@contextlib.contextmanager
def _matchers_replaced() -> Iterator[None]:
    """Matchers that loop over images, in every module of transformers that is loaded."""
    found = [
        (vars(module)[name], forward)
        for key, module in list(sys.modules.items())
        if key.startswith("transformers.models.")
        for name, forward in replacements().items()
        if name in vars(module)
    ]
    own = [(kind, kind.forward) for kind, _ in found]
    for kind, forward in found:
        kind.forward = forward
    try:
        yield
    finally:
        for kind, forward in own:
            kind.forward = forward


def _solved(costs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(queries [n], objects [n]) of costs [queries, n]."""
    return assigned(costs), torch.arange(costs.shape[-1], device=costs.device)


def _noisy(
    count: int,
    targets: list[dict[str, torch.Tensor]],
    num_classes: int,
    num_queries: int,
    class_embed: Callable[[torch.Tensor], torch.Tensor],
    num_denoising_queries: int = 100,
    label_noise_ratio: float = 0.5,
    box_noise_scale: float = 1.0,
) -> tuple[Any, Any, Any, Any]:
    """``get_contrastive_denoising_training_group`` of ``modeling_rt_detr.py`` (transformers 5.23)
    for images that all have ``count`` objects."""
    if num_denoising_queries <= 0:
        return None, None, None, None
    every = targets[0]
    labels, boxes = (every[name].unflatten(0, (-1, count)) for name in ("class_labels", "boxes"))
    groups = max(1, num_denoising_queries // count)
    there = torch.ones_like(labels, dtype=torch.bool).tile([1, 2 * groups])
    labels = labels.int().tile([1, 2 * groups])
    negative = torch.zeros_like(boxes[..., :1]).tile([1, 2, 1])
    negative[:, count:] = 1
    negative = negative.tile([1, groups, 1])
    positive = positions((1 - negative).squeeze(-1) * there, len(labels) * count * groups)
    if label_noise_ratio > 0:
        mask = torch.rand_like(labels, dtype=torch.float) < label_noise_ratio * 0.5
        other = torch.randint_like(mask, 0, num_classes, dtype=labels.dtype)
        labels = torch.where(mask & there, other, labels)
    boxes = boxes.tile([1, 2 * groups, 1])
    if box_noise_scale > 0:
        boxes = _moved(boxes, negative, box_noise_scale)
    noisy = 2 * count * groups
    return (
        class_embed(labels),
        boxes,
        _blind(noisy, num_queries, groups, boxes.device),
        {
            "dn_positive_idx": (positive,),
            "dn_num_group": groups,
            "dn_num_split": [noisy, num_queries],
        },
    )


def _moved(boxes: Any, negative: torch.Tensor, scale: float) -> torch.Tensor:
    """Boxes shifted at random, as logarithms of odds."""
    from transformers.image_transforms import center_to_corners_format, corners_to_center_format

    corners: Any = center_to_corners_format(boxes)
    reach = torch.tile(boxes[..., 2:] * 0.5, [1, 1, 2]) * scale
    sign = torch.randint_like(boxes, 0, 2) * 2.0 - 1.0
    part = torch.rand_like(boxes)
    part = ((part + 1.0) * negative + part * (1 - negative)) * sign
    moved: Any = corners_to_center_format((corners + part * reach).clip_(min=0.0, max=1.0))
    moved = moved.clamp(min=0, max=1)
    return torch.log(moved.clamp(min=1e-5) / (1 - moved).clamp(min=1e-5))


def _blind(noisy: int, queries: int, groups: int, device: torch.device) -> torch.Tensor:
    """The mask that keeps the groups of noisy queries and the real ones apart."""
    mask = torch.full([noisy + queries] * 2, 0, dtype=torch.float, device=device)
    mask[noisy:, :noisy] = -torch.inf
    width = noisy // groups
    for start in range(0, noisy, width):
        mask[start : start + width, :start] = -torch.inf
        mask[start : start + width, start + width : noisy] = -torch.inf
    return mask
