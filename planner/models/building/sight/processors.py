"""How large a family's own image processor makes images: for configs that do not say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.models.tasks import SIZED_BY_FAMILY


def sees(task: str, config: Any) -> bool:
    """Whether a model of a config is fed with images of its family's own size: for a task whose
    images have one, or as its own class is."""
    if task != "custom":
        return task in (*SIZED_BY_FAMILY, "image_classification", "contrastive")
    parts = ("image_size", "vision_config", "num_channels", "backbone_config")
    return any(getattr(config, name, None) is not None for name in parts)


def processor_size(library: Any, model_type: str) -> tuple[int, int] | None:
    """(height, width) in pixels of an image as the processor of a model type makes it by itself;
    None where the library has none, or it keeps the size. ``library``: transformers."""
    processor = _processor(library, model_type)
    if processor is None:
        return None
    if getattr(processor, "do_center_crop", False):
        cropped = _pixels(getattr(processor, "crop_size", None))
        if cropped is not None:
            return cropped
    return _pixels(getattr(processor, "size", None))


def _processor(library: Any, model_type: str) -> Any:
    """The class, of the first backend that can be imported here."""
    auto = library.models.auto.image_processing_auto
    named = getattr(auto, "IMAGE_PROCESSOR_MAPPING_NAMES", {}).get(model_type)
    names = named.values() if isinstance(named, Mapping) else named or ()
    for name in names:
        try:
            return getattr(library, name or "")
        except (AttributeError, ImportError):  # a backend that is not installed
            continue
    return None


def _pixels(size: Any) -> tuple[int, int] | None:
    """Of a square or a rectangle, or of a shorter side: a square of it."""
    if isinstance(size, int):
        return size, size
    if not isinstance(size, Mapping):
        return None
    side = size.get("shortest_edge")
    height, width = size.get("height", side), size.get("width", side)
    return (int(height), int(width)) if height and width else None
