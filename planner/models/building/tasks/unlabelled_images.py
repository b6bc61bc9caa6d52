"""Tasks of images without labels: filling masked patches, learning from the average of oneself."""

from __future__ import annotations

from typing import Any

from planner.models.building.tasks.base import Feed, TrainingTask, without
from planner.models.building.tasks.images import image_shape
from planner.models.constants import constant

AS_DINOV2 = (
    "trained as DINOv2 (vitl14.yaml): two large and eight small crops an image, heads of 131,072 "
    "prototypes, an averaged teacher, branches of the student's blocks on a part of the crops"
)


def _masks_itself(config: Any) -> bool:
    """Masked autoencoders draw their masks in the forward pass, the others are told them."""
    return hasattr(config, "mask_ratio")


def _patches(config: Any, height: int, width: int) -> int:
    return (height // config.patch_size) * (width // config.patch_size)


def _images(feed: Feed, b: int, _s: int | None, _t: int | None) -> dict[str, Any]:
    channels, height, width = image_shape(feed)
    batch = {"pixel_values": feed.values(b, channels, height, width)}
    if _masks_itself(feed.config):
        return batch
    import torch

    shape = (b, _patches(feed.config, height, width))
    return batch | {"bool_masked_pos": torch.empty(shape, dtype=torch.bool, device="meta")}


def _decodable(config: Any, _classes: int | None) -> None:
    """ViT's and DeiT's decoders draw whole patches; Swin's config says its own stride."""
    if config.model_type in ("vit", "deit"):
        config.encoder_stride = config.patch_size
    for name in ("mask_ratio", "encoder_stride"):
        if getattr(config, name, 0) is None:
            delattr(config, name)


def _fixed(module: Any, _config: Any) -> tuple[frozenset[str], tuple[str, ...]]:
    """Tables of positions that the class itself does not train."""
    return frozenset(name for name, p in module.named_parameters() if not p.requires_grad), ()


def _crops(feed: Feed, b: int, _s: int | None, _t: int | None) -> dict[str, Any]:
    import torch

    channels, side, _ = image_shape(feed)
    patch = feed.config.patch_size
    small = int(constant("local_crop_pixels")) // patch * patch
    patches = _patches(feed.config, side, side)
    crops = int(constant("global_crops"))
    masked = crops * round(constant("masked_patches_share") * patches)
    large = crops * b
    return {
        "global_crops": feed.values(large, channels, side, side),
        "local_crops": feed.values(int(constant("local_crops")) * b, channels, small, small),
        "masks": torch.empty((large, patches), dtype=torch.bool, device="meta"),
        "masked": feed.ids(masked * b),
    }


def _large_crops(config: Any, _classes: int | None) -> None:
    config.image_size = int(constant("global_crop_pixels"))


def _with_teacher(module: Any, _config: Any) -> Any:
    from planner.models.building.self_distillation import SelfDistillation

    return SelfDistillation(module)


def _teacher(module: Any, _config: Any) -> tuple[frozenset[str], tuple[str, ...]]:
    names = [name for name, _ in module.named_parameters() if name.startswith("teacher.")]
    return frozenset(names), (AS_DINOV2,)


def _said_of_images(module: Any, batch: Any) -> Any:
    return module.student.dino_head(module.student.features(batch["global_crops"], None)[0])


TASKS = (
    TrainingTask(
        "masked_image_modeling",
        ("AutoModelForMaskedImageModeling", "AutoModelForPreTraining"),
        _images,
        symbols=("B",),
        logits=without("labels"),
        head=lambda module: ("decoder",),
        adapt=_decodable,
        frozen=_fixed,
    ),
    TrainingTask(
        "image_self_distillation",
        ("AutoModel",),
        _crops,
        symbols=("B",),
        loss=lambda module, batch: module(**batch),
        logits=_said_of_images,
        head=lambda module: ("student.dino_head", "student.ibot_head"),
        adapt=_large_crops,
        frozen=_teacher,
        wrap=_with_teacher,
        after_update=lambda module: module.update_teacher,
    ),
)
