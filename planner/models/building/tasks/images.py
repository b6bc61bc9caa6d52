"""Tasks of images, and of images with texts."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from planner.errors import FieldName, ModelError
from planner.models.building.tasks.base import Feed, TrainingTask, children_of_head
from planner.models.building.tasks.text import classifier_config
from planner.models.constants import constant


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


def video(feed: Feed, b: int) -> Any:
    """[b, frames, channels, height, width]; as many frames as its config says."""
    vision = getattr(feed.config, "vision_config", feed.config)
    frames = getattr(vision, "num_frames", None) or int(constant("usual_frames"))
    return feed.values(b, frames, *image_shape(feed))


def _seen(feed: Feed, b: int) -> dict[str, Any]:
    """Images, or videos where the forward pass reads nothing else."""
    names = inspect.signature(type(feed.module).forward).parameters
    if "pixel_values" not in names and "pixel_values_videos" in names:
        return {"pixel_values_videos": video(feed, b)}
    return {"pixel_values": feed.values(b, *image_shape(feed))}


def _labelled_images(feed: Feed, b: int, _s: int | None, _t: int | None) -> dict[str, Any]:
    return {**_seen(feed, b), "labels": feed.ids(b)}


def _pairs(feed: Feed, b: int, _s: int | None, _t: int | None) -> dict[str, Any]:
    """Images with captions of the text tower's full, fixed length (77 tokens in CLIP)."""
    length = feed.config.text_config.max_position_embeddings
    return {
        "input_ids": feed.ids(b, length),
        **_seen(feed, b),
        "attention_mask": feed.mask(b, length),
        "return_loss": True,
    }


def _similarities(module: Any, batch: Mapping[str, Any]) -> Any:
    """Of every image, or video, with every text."""
    out = module(**{name: value for name, value in batch.items() if name != "return_loss"})
    found = getattr(out, "logits_per_image", None)
    return found if found is not None else out.logits_per_video


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
        logits=_similarities,
    ),
)
