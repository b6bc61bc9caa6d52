"""Tasks of images, and of images with texts."""

from __future__ import annotations

from typing import Any

from planner.errors import FieldName, ModelError
from planner.models.building.tasks.base import Feed, TrainingTask, children_of_head, without
from planner.models.building.tasks.text import classifier_config


def image_shape(feed: Feed) -> tuple[int, int, int]:
    """(channels, height, width) of what the model reads. Raises ModelError where its config does
    not say."""
    vision = getattr(feed.config, "vision_config", feed.config)
    size = getattr(vision, "image_size", None)
    if size is None:
        raise ModelError(
            "its config does not say how large its images are",
            where=feed.name,
            mend=f"Give {FieldName('image_size')}",
        )
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    return getattr(vision, "num_channels", 3), height, width


def _labelled_images(feed: Feed, b: int, _s: int | None, _t: int | None) -> dict[str, Any]:
    return {"pixel_values": feed.values(b, *image_shape(feed)), "labels": feed.ids(b)}


def _pairs(feed: Feed, b: int, _s: int | None, _t: int | None) -> dict[str, Any]:
    """Images with captions of the text tower's full, fixed length (77 tokens in CLIP)."""
    length = feed.config.text_config.max_position_embeddings
    return {
        "input_ids": feed.ids(b, length),
        "pixel_values": feed.values(b, *image_shape(feed)),
        "attention_mask": feed.mask(b, length),
        "return_loss": True,
    }


def _projections(module: Any) -> tuple[str, ...]:
    """What maps both towers into one space: CLIP's projections, SigLIP's pooling heads."""
    parts = {name for name, _ in module.named_modules()}
    own = [name for name in ("vision_model.head", "text_model.head") if name in parts]
    return (*children_of_head(module), *own)


TASKS = (
    TrainingTask(
        "image_classification",
        ("AutoModelForImageClassification",),
        _labelled_images,
        symbols=("B",),
        adapt=classifier_config,
    ),
    TrainingTask(
        "contrastive",
        ("AutoModel",),
        _pairs,
        symbols=("B",),
        head=_projections,
        logits=without("return_loss", output="logits_per_image"),
    ),
)
