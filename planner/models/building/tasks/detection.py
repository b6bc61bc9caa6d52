"""Detection of objects and their masks."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from planner.errors import ModelError
from planner.models.building.tasks.base import Feed, TrainingTask
from planner.models.building.tasks.images import image_shape
from planner.models.constants import constant, has

if TYPE_CHECKING:
    import torch

    from planner.models.building.tasks.base import Batch

#: Last parts of the names of modules that a published detector has for its own classes and boxes.
HEADS = (
    "class_labels_classifier",
    "bbox_predictor",
    "class_embed",
    "bbox_embed",
    "enc_score_head",
    "enc_bbox_head",
    "denoising_class_embed",
    "class_predictor",
    "mask_embedder",
    "mask_head",
    "bbox_attention",
)
MATCHED = (
    "every image has the stated number of objects; the loss is the library's, with the "
    "objects of all images in one list, and its assignment on the host (scipy) is waited for but "
    "its own time is not priced"
)


def trained_side(config: Any) -> None:
    """The size that a family's images are trained at, where its config names none or that of its
    backbone's pretraining; a question's own follows."""
    if has("training_side", config.model_type) and not isinstance(
        getattr(config, "image_size", None), (list, tuple)
    ):
        config.image_size = int(constant("training_side", config.model_type))


def adapt(config: Any, classes: int | None) -> None:
    """The question's number of classes, and the family's size of images."""
    if classes is not None:
        config.num_labels = classes
    trained_side(config)


def photo_shape(feed: Feed) -> tuple[int, int, int]:
    """(channels, height, width): as high as the family's shorter side and as wide as a photograph,
    where images keep their shape."""
    channels, height, width = image_shape(feed)
    if feed.largest is not None:
        width, height = feed.largest
    elif has("keeps_shape", feed.config.model_type) and height == width:
        width = int(height * constant("photo_width") / constant("photo_height"))
    return channels, height, width


def images(feed: Feed, b: int) -> dict[str, Any]:
    """Pixels, with the mask of what is not padding where the model asks for it."""
    shape = photo_shape(feed)
    batch = {"pixel_values": feed.values(b, *shape)}
    if "pixel_mask" in inspect.signature(feed.module.forward).parameters:
        batch["pixel_mask"] = feed.mask(b, *shape[1:])
    return batch


def _objects(feed: Feed, b: int, _s: int | None, t: int | None) -> dict[str, Any]:
    """Images with objects [B, n]: class, and box as shares of the image."""
    count = t or feed.objects
    boxes = feed.values(b, count, 4).float()
    return {**images(feed, b), "class_labels": feed.ids(b, count), "boxes": boxes}


def _loss(module: torch.nn.Module, batch: Batch) -> torch.Tensor:
    from planner.models.building.detection.assignment import PER_IMAGE, objects_of, without_data

    given = {key: value for key, value in batch.items() if key not in PER_IMAGE}
    with without_data(given["pixel_values"], batch["class_labels"].shape[1]):
        return module(**given, labels=objects_of(batch)).loss


def class_logits(module: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """What each query says of the classes."""
    given = {key: batch[key] for key in ("pixel_values", "pixel_mask") if key in batch}
    output = module(**given)
    found = getattr(output, "logits", None)
    return found if found is not None else output.class_queries_logits


def heads(module: Any) -> tuple[str, ...]:
    """Prefixes of the heads, wherever in the model they lie."""
    found: list[str] = []
    for name, _ in module.named_modules():
        inside = any(name.startswith(f"{prefix}.") for prefix in found)
        if name.rpartition(".")[2] in HEADS and not inside:
            found.append(name)
    return tuple(found)


def frozen(module: Any, _config: Any) -> tuple[frozenset[str], tuple[str, ...]]:
    """What the library itself freezes: the first stages of a backbone."""
    names = frozenset(name for name, p in module.named_parameters() if not p.requires_grad)
    return names, (MATCHED,)


def check(feed: Feed) -> None:
    """Raises ModelError for a detector whose loss the library does not have."""
    if "labels" not in inspect.signature(feed.module.forward).parameters:
        raise ModelError(f"{type(feed.module).__name__} has no loss to train with", where=feed.name)


TASKS = (
    TrainingTask(
        "object_detection",
        ("AutoModelForObjectDetection",),
        _objects,
        symbols=("B",),
        loss=_loss,
        logits=class_logits,
        head=heads,
        adapt=adapt,
        frozen=frozen,
        check=check,
    ),
)
