"""Segmentation: a class for each pixel, a mask for each object, masks from prompts."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from planner.errors import ModelError
from planner.models.building.tasks.base import Feed, TrainingTask, without
from planner.models.building.tasks.detection import (
    adapt,
    check,
    class_logits,
    frozen,
    heads,
    images,
    trained_side,
)
from planner.models.building.tasks.images import image_shape

if TYPE_CHECKING:
    import torch

    from planner.models.building.tasks.base import Batch

#: Modules that a model for another set of pixels' classes makes anew.
PIXEL_HEADS = (
    "decode_head",
    "auxiliary_head",
    "segmentation_head",
    "classifier",
    "head",
    "neck",
    "psp_modules",
)
#: A prompt of one box an object; the mask decoder answers with masks of a quarter of the side.
DECODER = ("mask_decoder",)


def _pixels(feed: Feed, b: int, _s: int | None, _t: int | None) -> dict[str, Any]:
    shape = image_shape(feed)
    return {"pixel_values": feed.values(b, *shape), "labels": feed.ids(b, *shape[1:])}


def _pixel_head(module: Any) -> tuple[str, ...]:
    return tuple(name for name, _ in module.named_children() if name in PIXEL_HEADS)


def _pixel_check(feed: Feed) -> None:
    if "labels" not in inspect.signature(feed.module.forward).parameters:
        raise ModelError(f"{type(feed.module).__name__} has no loss to train with", where=feed.name)


# ---- a mask for each object


def _masks(feed: Feed, b: int, _s: int | None, t: int | None) -> dict[str, Any]:
    """Images with objects [B, n]: class, and mask as large as the image."""
    batch, count = images(feed, b), t or feed.objects
    height, width = batch["pixel_values"].shape[-2:]
    masks = feed.values(b, count, height, width).float()
    return {**batch, "class_labels": feed.ids(b, count), "masks": masks}


def _masks_and_boxes(feed: Feed, b: int, s: int | None, t: int | None) -> dict[str, Any]:
    batch = _masks(feed, b, s, t)
    return {**batch, "boxes": feed.values(b, t or feed.objects, 4).float()}


def _mask_loss(module: torch.nn.Module, batch: Batch) -> torch.Tensor:
    from planner.models.building.detection.assignment import PER_IMAGE, objects_of, without_data

    given = {key: value for key, value in batch.items() if key not in PER_IMAGE}
    objects = objects_of(batch)
    with without_data(given["pixel_values"], batch["class_labels"].shape[1]):
        if "labels" in inspect.signature(module.forward).parameters:
            return module(**given, labels=objects).loss
        return module(
            **given,
            mask_labels=[one["masks"] for one in objects],
            class_labels=[one["class_labels"] for one in objects],
        ).loss


def _mask_check(feed: Feed) -> None:
    """Raises ModelError for a model that asks for texts beside its images, or has no loss."""
    asked = inspect.signature(feed.module.forward).parameters
    if "mask_labels" not in asked:
        check(feed)
    if "task_inputs" in asked:
        raise ModelError(
            "it is trained on texts beside its images, which is not covered", where=feed.name
        )


def _of_detector(config: Any) -> TrainingTask | None:
    """DETR's masks come with its boxes."""
    return _BOXED if config.model_type in ("detr", "rf_detr") else None


def _instance(batch: Any, **options: Any) -> TrainingTask:
    return TrainingTask(
        "instance_segmentation",
        ("AutoModelForUniversalSegmentation", "AutoModelForInstanceSegmentation"),
        batch,
        symbols=("B",),
        loss=_mask_loss,
        logits=class_logits,
        head=heads,
        adapt=adapt,
        frozen=frozen,
        check=_mask_check,
        **options,
    )


# ---- masks from prompts


def _prompts(feed: Feed, b: int, _s: int | None, _t: int | None) -> dict[str, Any]:
    """An image with one box as its prompt, and the mask that it should give."""
    side = feed.config.vision_config.image_size
    low = 4 * getattr(feed.config.prompt_encoder_config, "image_embedding_size", side // 16)
    return {
        "pixel_values": feed.values(b, 3, side, side),
        "input_boxes": feed.values(b, 1, 4),
        "multimask_output": False,
        "masks": feed.values(b, low, low),
    }


def _prompted(module: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """[B, 1, 1, h, w]: the mask of each prompt."""
    return module(**{key: value for key, value in batch.items() if key != "masks"}).pred_masks


def _overlap_and_pixels(module: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Cross entropy plus Dice, as published fine-tunings take from MONAI (DiceCELoss)."""
    from torch.nn import functional

    found = _prompted(module, batch).squeeze(1).squeeze(1).float()
    wanted = batch["masks"].float()
    share = found.sigmoid()
    both = (share * wanted).sum((-1, -2))
    either = share.sum((-1, -2)) + wanted.sum((-1, -2))
    pixels = functional.binary_cross_entropy_with_logits(found, wanted)
    return (1 - (2 * both + 1) / (either + 1)).mean() + pixels


def _prompt_check(feed: Feed) -> None:
    """Raises ModelError for a model of masks that takes no boxes and images by these names."""
    asked = inspect.signature(feed.module.forward).parameters
    if not {"pixel_values", "input_boxes", "multimask_output"} <= set(asked):
        raise ModelError(
            f"{type(feed.module).__name__} is not prompted with boxes", where=feed.name
        )


def _sam_said(_module: Any, _config: Any) -> tuple[frozenset[str], tuple[str, ...]]:
    said = (
        "one box an image is its prompt, one mask of a quarter of the side its answer; feature "
        "extraction trains the mask decoder on a frozen image encoder, full fine-tuning all of it"
    )
    return frozenset(), (said,)


def _prompt_adapt(config: Any, _classes: int | None) -> None:
    trained_side(config)


_BOXED = _instance(_masks_and_boxes)
TASKS = (
    TrainingTask(
        "semantic_segmentation",
        ("AutoModelForSemanticSegmentation",),
        _pixels,
        symbols=("B",),
        logits=without("labels"),
        head=_pixel_head,
        adapt=adapt,
        check=_pixel_check,
    ),
    _instance(_masks, variant=_of_detector),
    TrainingTask(
        "mask_generation",
        ("AutoModelForMaskGeneration",),
        _prompts,
        symbols=("B",),
        loss=_overlap_and_pixels,
        logits=_prompted,
        head=lambda module: tuple(name for name in DECODER if hasattr(module, name)),
        adapt=_prompt_adapt,
        frozen=_sam_said,
        check=_prompt_check,
    ),
)
