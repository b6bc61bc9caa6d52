"""Writing about images: a vision tower's features stand in the sequence, or are read beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from planner.models.building.sight.image_inputs import image_rule
from planner.models.building.sight.seeing import as_on_device
from planner.models.building.tasks.base import Feed, TrainingTask, output_embedding
from planner.models.building.tasks.text import decoder_logits

FROZEN_TOWER = (
    "the vision tower is frozen, as the usual recipes do; what joins it to the text trains"
)
#: Words in the names of what joins a vision tower to the language model, which recipes train.
JOINS = ("projector", "connector", "merger", "language_projection", "qformer", "query_tokens")
#: Parts that see, by the families' names.
TOWERS = ("vision_tower", "vision_model", "visual", "vision_encoder", "vision_embed_tokens")
#: Families whose masks let image places see each other: they read which places those are.
TYPED = ("gemma3", "paligemma")


def _pixels(feed: Feed, b: int) -> dict[str, Any]:
    """What the vision tower reads of ``feed.images`` pictures a sample."""
    rule = image_rule({"model_type": feed.config.model_type}, feed.name).rule
    return _FEEDS.get(rule, _squares)(feed, b)


def _side(feed: Feed) -> int:
    return feed.config.vision_config.image_size


def _squares(feed: Feed, b: int) -> dict[str, Any]:
    channels = getattr(feed.config.vision_config, "num_channels", 3)
    return {"pixel_values": feed.values(b * feed.images, channels, _side(feed), _side(feed))}


def _by_sample(feed: Feed, b: int) -> dict[str, Any]:
    """Pictures of a sample beside each other, with the places that hold pixels."""
    side = _side(feed)
    return {
        "pixel_values": feed.values(b, feed.images, 3, side, side),
        "pixel_attention_mask": feed.mask(b, feed.images, side, side).bool(),
    }


def _patches(feed: Feed, b: int) -> dict[str, Any]:
    """Flat patches of all images, and each image's grid: (frames, rows, columns) on the host, as
    the sizes that depend on it are."""
    import torch

    vision = feed.config.vision_config
    grid = _side(feed) // vision.patch_size
    width = getattr(vision, "in_channels", 3) * vision.temporal_patch_size * vision.patch_size**2
    count = b * feed.images
    return {
        "pixel_values": feed.values(count * grid * grid, width),
        "image_grid_thw": torch.tensor([[1, grid, grid]] * count, device="cpu"),
    }


def _crossed(feed: Feed, b: int) -> dict[str, Any]:
    vision = feed.config.vision_config
    tiles, side = vision.max_num_tiles, _side(feed)
    return {
        "pixel_values": feed.values(b, feed.images, tiles, vision.num_channels, side, side),
        "aspect_ratio_ids": feed.ids(b, feed.images),
        "aspect_ratio_mask": feed.mask(b, feed.images, tiles),
    }


_FEEDS: dict[str, Callable[[Feed, int], dict[str, Any]]] = {
    "merged": _patches,
    "tiles": _by_sample,
    "resampled": _by_sample,
    "crossed": _crossed,
}


def _seen_and_written(feed: Feed, b: int, s: int | None, _t: int | None) -> dict[str, Any]:
    """Sequences of S tokens, the places of images among them."""
    tokens = feed.ids(b, s)
    batch = {"input_ids": tokens, **_pixels(feed, b), "labels": tokens}
    kind = feed.config.model_type
    if kind in TYPED:
        batch |= {"token_type_ids": feed.ids(b, s), "attention_mask": feed.mask(b, s)}
    if "image_grid_thw" in batch:  # places in three axes, which its processor's ids tell
        batch["position_ids"] = feed.ids(3, b, s)
    if kind == "mllama":
        tiles = feed.config.vision_config.max_num_tiles
        batch["cross_attention_mask"] = feed.mask(b, s, feed.images, tiles)
    return batch


def _seen_and_answered(feed: Feed, b: int, s: int | None, t: int | None) -> dict[str, Any]:
    """An encoder reads S tokens with the images' places, a decoder writes T."""
    return {"input_ids": feed.ids(b, s), **_pixels(feed, b), "labels": feed.ids(b, t)}


def tower_names(module: Any) -> frozenset[str]:
    """Parameters of what sees, those that join it to the language model left out."""
    names = (name for name, _ in module.named_parameters())
    return frozenset(
        name
        for name in names
        if any(part in name.split(".") for part in TOWERS)
        and not any(join in name for join in JOINS)
    )


def joins(module: Any) -> frozenset[str]:
    """Parameters of what joins a vision tower to the language model."""
    names = (name for name, _ in module.named_parameters())
    return frozenset(name for name in names if any(join in name for join in JOINS))


def _frozen_tower(module: Any, _config: Any) -> tuple[frozenset[str], tuple[str, ...]]:
    names = tower_names(module)
    return names, (FROZEN_TOWER,) if names else ()


def _known(feed: Feed) -> None:
    """Raises ModelError for a family whose images cannot be fed."""
    image_rule({"model_type": feed.config.model_type}, feed.name)


def _encoded(config: Any) -> TrainingTask | None:
    return ANSWERED if getattr(config, "use_decoder_only_language_model", True) is False else None


IMAGES_AND_TEXT = ("AutoModelForImageTextToText", "AutoModelForMultimodalLM")
_SHARED: dict[str, Any] = {
    "head": output_embedding,
    "frozen": _frozen_tower,
    "check": _known,
    "on_meta": as_on_device,
    "beside_adapters": joins,
    "frozen_takes_no_adapters": True,
}
ANSWERED = TrainingTask(
    "image_text_to_text",
    IMAGES_AND_TEXT,
    _seen_and_answered,
    symbols=("B", "S", "T"),
    logits=decoder_logits,
    **_SHARED,
)
TASKS = (
    TrainingTask(
        "image_text_to_text", IMAGES_AND_TEXT, _seen_and_written, variant=_encoded, **_SHARED
    ),
)
