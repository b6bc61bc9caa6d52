"""torchvision's detectors and segmentation models."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from planner.errors import FieldName, ImageSizeError, ModelError, UnknownNameError
from planner.libraries import import_library
from planner.models.building.built import BuiltModel
from planner.models.building.meta import make_on
from planner.models.building.wrapping import checkpoint_blocks
from planner.models.constants import constant
from planner.models.facts import ModelFacts

if TYPE_CHECKING:
    import torch

    Maker = Callable[[int, int | None, int | None], dict[str, Any]]

#: Objects, width and height in pixels of an image as it lies on disk.
Photo = tuple[int, int, int]
RGB = 3
SEGMENTATION = "semantic_segmentation"
#: What a model's backbone consists of, from input to output.
STAGES = ("layer1", "layer2", "layer3", "layer4")
#: Modules that fine-tuning on other classes makes anew.
HEADS = ("rpn", "roi_heads", "head", "classifier", "aux_classifier")


def build_detector(
    facts: ModelFacts,
    *,
    attention: str,
    dtype: torch.dtype,
    classes: int | None,
    image_size: int | None,
    audio_samples: int | None,
    task: str,
    channels_last: bool,
    device: str,
    largest: tuple[int, int] | None = None,
    objects: int | None = None,
) -> BuiltModel:
    """See ``planner.models.building.build.build``: with a pretrained backbone, as torchvision's
    builders make it, so with its normalisation and first stages frozen. Without ``classes`` the
    number of the published weights (91 of COCO, 21 of VOC, the background among them)."""
    if device != "meta":
        raise ModelError(
            f"a step of {task} is recorded, not run: its data is not made up here",
            where=facts.name,
        )
    models = import_library("torchvision", f"the model {facts.name}").models
    name = facts.architecture or ""
    segments = task == SEGMENTATION
    known = models.list_models(module=models.segmentation if segments else models.detection)
    if name not in known:
        raise UnknownNameError(f"torchvision model for {task}", name, known)
    module: Any = make_on(device, lambda: _made(models, name, classes, image_size), dtype)
    size = image_size or facts.image_size or int(constant("segmentation_side"))
    photo = _photo(objects, largest)
    if largest is not None:
        module.transform.fixed_size = largest
    batch, loss = (
        (_pixels(dtype, size), _pixel_loss)
        if segments
        else (_objects(dtype, name, photo), _loss(name))
    )
    blocks = _blocks(module)
    return BuiltModel(
        module=module,
        facts=facts,
        task=task,
        symbols=("B",) if largest is None else ("B", "T"),
        make_batch=batch,
        loss_function=loss,
        logits_function=_pixel_logits if segments else _no_logits,
        head=tuple(part for part in HEADS if getattr(module, part, None) is not None),
        blocks=blocks,
        checkpoint=lambda **options: checkpoint_blocks(blocks, options),
        frozen=frozenset(n for n, p in module.named_parameters() if not p.requires_grad),
        assumptions=() if segments else (_BACKBONE, *_said(module, photo)),
    )


_BACKBONE = (
    "the backbone is built as for published weights of it: torchvision freezes the normalisation "
    "and the first stages of a detector's backbone then, in training from nothing too"
)


def _photo(objects: int | None, largest: tuple[int, int] | None) -> Photo:
    """A usual photograph, or one of the largest's shape."""
    count, wide, high = (
        int(constant(key)) for key in ("objects_per_image", "photo_width", "photo_height")
    )
    if largest is not None:
        high = round(wide * largest[1] / largest[0])
    return objects or count, wide, high


def _said(module: Any, photo: Photo) -> tuple[str, ...]:
    """What is assumed of the images and of what depends on them."""
    objects, wide, high = photo
    from planner.models.building.detection.boxes import scaled

    height, width = scaled(module, high, wide)
    text = (
        f"images of {wide} x {high} pixels with {objects} objects, resized on the device to "
        f"{width} x {height}; what is done image by image (matching, sampling, resizing) is traced "
        "for all images at once, with fewer launches"
    )
    if not hasattr(module, "roi_heads"):
        return (text, f"{constant('anchors_per_object'):g} anchors match an object")
    return (text, "proposals and samples at the library's limits, spread evenly over the levels")


def _made(models: Any, name: str, classes: int | None, image_size: int | None) -> Any:
    """The library's model with a pretrained backbone, its weights never read."""
    options: dict[str, Any] = {"num_classes": classes} if classes else {}
    detects = name in models.list_models(module=models.detection)
    if classes and detects:
        options["num_classes"] = classes + 1  # the library counts the background among them
    if image_size and name.startswith("ssd"):
        raise ImageSizeError(
            "its anchors are made for one size of images",
            where=f"torchvision:{name}",
            mend=f"Leave {FieldName('image_size')} out",
        )
    if image_size and detects:
        options["min_size"] = image_size
    published = models.get_model_weights(name).DEFAULT
    options.setdefault("num_classes", len(published.meta["categories"]))
    if name.startswith("keypointrcnn"):
        options["num_keypoints"] = int(constant("keypoints_per_object"))
    if not detects and "lraspp" not in name:
        options["aux_loss"] = True  # as its published weights have it
    backbone = None if name.startswith("ssdlite") else "DEFAULT"  # as its weights were made
    with _weights_unread(models):
        return models.get_model(name, weights=None, weights_backbone=backbone, **options)


@contextlib.contextmanager
def _weights_unread(models: Any) -> Iterator[None]:
    """The library's builders choose what is frozen by whether weights are named, and would download
    them: inside, they are named and not read."""
    import torch

    kind: Any = models.WeightsEnum
    module: Any = torch.nn.Module
    read, load = kind.get_state_dict, module.load_state_dict
    kind.get_state_dict = lambda self, *_args, **_options: {}
    module.load_state_dict = lambda self, *_args, **_options: None
    try:
        yield
    finally:
        kind.get_state_dict, module.load_state_dict = read, load


def _blocks(module: Any) -> list[torch.nn.Module]:
    """The backbone's stages."""
    body = getattr(module.backbone, "body", module.backbone)
    stages = [getattr(body, name) for name in STAGES if hasattr(body, name)]
    if not stages and hasattr(body, "features"):
        return list(body.features.children())
    return stages or list(body.children())


def _objects(dtype: torch.dtype, name: str, photo: Photo) -> Maker:
    """Photographs with objects: boxes, labels, masks or key points of each."""
    import torch

    usual, wide, high = photo

    def empty(*shape: int, kind: torch.dtype = dtype) -> torch.Tensor:
        return torch.empty(shape, dtype=kind, device="meta")

    def make(B: int, S: int | None, T: int | None) -> dict[str, Any]:
        count = T or usual
        batch = {
            "images": empty(B, RGB, high, wide),
            "boxes": empty(B, count, 4, kind=torch.float32),
            "labels": empty(B, count, kind=torch.int64),
        }
        if name.startswith("maskrcnn"):
            batch["masks"] = empty(B, count, high, wide, kind=torch.uint8)
        if name.startswith("keypointrcnn"):
            points = int(constant("keypoints_per_object"))
            batch["keypoints"] = empty(B, count, points, 3, kind=torch.float32)
        return batch

    return make


def _loss(name: str) -> Callable[[Any, Any], torch.Tensor]:
    from planner.models.building.detection import dense, rcnn

    return rcnn.loss if "rcnn" in name else dense.loss


def _no_logits(_module: torch.nn.Module, _batch: Mapping[str, Any]) -> torch.Tensor:
    raise ModelError(
        "a detector's outputs before its loss are no one tensor: neither distillation nor cached "
        "features are covered",
        mend=f"Choose another {FieldName('strategy')}",
    )


def _pixels(dtype: torch.dtype, size: int) -> Maker:
    """Square crops with a class for each pixel."""
    import torch

    def make(B: int, S: int | None, T: int | None) -> dict[str, Any]:
        return {
            "images": torch.empty((B, RGB, size, size), dtype=dtype, device="meta"),
            "labels": torch.empty((B, size, size), dtype=torch.int64, device="meta"),
        }

    return make


def _pixel_loss(module: torch.nn.Module, batch: Mapping[str, Any]) -> torch.Tensor:
    """As torchvision's references: cross entropy, and half of the auxiliary head's."""
    from torch.nn.functional import cross_entropy

    found = module(batch["images"])
    main = cross_entropy(found["out"], batch["labels"], ignore_index=IGNORED)
    if "aux" not in found:
        return main
    return main + AUXILIARY * cross_entropy(found["aux"], batch["labels"], ignore_index=IGNORED)


#: Of torchvision's ``references/segmentation/train.py`` (``criterion``): pixels without a class,
#: and the weight of the auxiliary head's loss.
IGNORED, AUXILIARY = 255, 0.5


def _pixel_logits(module: torch.nn.Module, batch: Mapping[str, Any]) -> torch.Tensor:
    return module(batch["images"])["out"]
