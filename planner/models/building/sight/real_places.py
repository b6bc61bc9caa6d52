"""Where the images of a batch with values stand among its tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from planner.models.building.sight.image_inputs import features, image_rules

if TYPE_CHECKING:
    import torch


def put_images(batch: dict[str, Any], config: Any, name: str) -> None:
    """The first places of every sequence of ``input_ids`` [B, S] are its images', as many as the
    vision tower gives features, and no other place is one: models count both and refuse a batch
    where they differ. Changes the batch's ids in place; a batch without images stays as it is."""
    ids, pixels = batch.get("input_ids"), batch.get("pixel_values")
    mark = _mark(config)
    known = getattr(config, "model_type", None) in image_rules()
    if ids is None or pixels is None or mark is None or not known:
        return
    side = config.vision_config.image_size
    places = _pictures(batch, len(ids)) * features(config.to_dict(), side, name)
    other = mark - 1 if mark else mark + 1
    ids[ids == mark] = other
    ids[:, :places] = mark
    if "token_type_ids" in batch:
        batch["token_type_ids"] = (ids == mark).to(batch["token_type_ids"].dtype)


def _mark(config: Any) -> int | None:
    """The id that stands for a place of an image."""
    for key in ("image_token_id", "image_token_index"):
        mark = getattr(config, key, None)
        if isinstance(mark, int):
            return mark
    return None


def _pictures(batch: dict[str, Any], samples: int) -> int:
    """Pictures of a sample, tiles each."""
    grids, pixels = batch.get("image_grid_thw"), batch["pixel_values"]
    if grids is not None:
        return len(grids) // samples
    beside: torch.Tensor | None = batch.get("pixel_attention_mask")
    return pixels.shape[1] if beside is not None else len(pixels) // samples
