"""YOLO detectors of Ultralytics (its ``Detect`` models, YOLOv8 and later)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from planner.errors import FieldName, ImageSizeError, ModelError
from planner.libraries import import_library
from planner.models.building.built import BuiltModel
from planner.models.building.wrapping import checkpoint_blocks
from planner.models.constants import constant
from planner.models.facts import ModelFacts

if TYPE_CHECKING:
    import torch

RGB = 3


def build_yolo(
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
    """See ``planner.models.building.build.build``. Without ``classes`` the 80 of COCO. Raises
    ModelError for a model of Ultralytics that does not detect boxes."""
    if device != "meta":
        raise ModelError("a step of YOLO is recorded, not run", where=facts.name)
    module: Any = _made(facts, classes)
    strides = module.model[-1].stride  # the loss reads them on the host
    module = module.to(device="meta", dtype=dtype)
    module.model[-1].stride = strides
    size = image_size or facts.image_size or int(constant("yolo_side"))
    shape = largest or (size, size)
    _check_sides(facts, shape, int(max(strides)))
    layers = list(module.model)
    count, candidates, matched = (int(constant(key)) for key in _COUNTS)
    count = objects or count
    return BuiltModel(
        module=module,
        facts=facts,
        task=task,
        symbols=("B",) if largest is None else ("B", "T"),
        make_batch=_batch_maker(dtype, shape, count),
        loss_function=_loss,
        logits_function=_no_logits,
        head=(f"model.{len(layers) - 1}",),
        blocks=layers[:-1],
        checkpoint=lambda **options: checkpoint_blocks(layers[:-1], options),
        frozen=frozenset(n for n, p in module.named_parameters() if not p.requires_grad),
        assumptions=(
            f"every image has {count} objects; {candidates} anchor points lie in an object and "
            f"{matched} are matched to it; every batch is of {shape[0]} x {shape[1]} pixels",
        ),
    )


def _check_sides(facts: ModelFacts, shape: tuple[int, int], stride: int) -> None:
    """Raises ModelError where the coarsest level does not divide the image: Ultralytics rounds such
    a size up by itself."""
    if any(side % stride for side in shape):
        above = -(-max(shape) // stride) * stride
        raise ImageSizeError(
            f"images of {shape[0]} x {shape[1]} pixels do not divide by its stride of {stride}",
            where=facts.name,
            mend=f"Give {FieldName('image_size')} as a multiple of {stride}, such as {above}",
        )


_COUNTS = ("objects_per_image", "points_in_object", "points_of_object")


def _made(facts: ModelFacts, classes: int | None) -> Any:
    """On the processor, since its constructor runs a forward pass for its strides."""
    os.environ.setdefault("YOLO_VERBOSE", "false")
    import_library("ultralytics", f"the model {facts.name}")
    from ultralytics.nn.tasks import DetectionModel
    from ultralytics.utils import DEFAULT_CFG

    name = facts.architecture or ""
    try:
        module: Any = DetectionModel(
            f"{name}.yaml", nc=classes or int(constant("yolo_classes")), verbose=False
        )
    except FileNotFoundError as error:
        raise ModelError(
            f"Ultralytics knows no model {name!r}", where=facts.name, mend="yolo:yolov8n, say"
        ) from error
    last = type(module.model[-1]).__name__
    if last != "Detect":
        raise ModelError(
            f"its last layer is {last}: only models that detect boxes are covered",
            where=facts.name,
        )
    module.args = DEFAULT_CFG
    return module


def _batch_maker(
    dtype: torch.dtype, shape: tuple[int, int], count: int
) -> Callable[[int, int | None, int | None], dict[str, Any]]:
    """Ultralytics' own batch: boxes of all images in one list, with the image of each."""
    import torch

    wide, high = shape

    def empty(*sides: int, kind: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.empty(sides, dtype=kind, device="meta")

    def make(B: int, S: int | None, T: int | None) -> dict[str, Any]:
        boxes = B * (T or count)
        return {
            "img": empty(B, RGB, high, wide, kind=dtype),
            "cls": empty(boxes, 1),
            "bboxes": empty(boxes, 4),
            "batch_idx": empty(boxes),
        }

    return make


def _loss(module: torch.nn.Module, batch: Mapping[str, Any]) -> torch.Tensor:
    """The library's own loss, at stated numbers of matches."""
    from planner.models.building.detection.operations import counted_as

    _, candidates, matched = (int(constant(key)) for key in _COUNTS)
    objects = len(batch["cls"]) // len(batch["img"])
    whole: Any = module
    found = whole(batch["img"])
    with _padded_without_data(objects):
        counted_as(batch["img"], {3: objects * candidates, 2: objects * matched})
        try:
            return whole.init_criterion()(found, batch)[0].sum()
        finally:
            counted_as(batch["img"], None)


@contextlib.contextmanager
def _padded_without_data(objects: int) -> Iterator[None]:
    """The library asks how many boxes the fullest image has; here all have the same."""
    from ultralytics.utils.loss import v8DetectionLoss

    kind: Any = v8DetectionLoss
    own = kind.preprocess

    def preprocess(
        self: Any, targets: torch.Tensor, batch_size: int, scale_tensor: torch.Tensor
    ) -> torch.Tensor:
        from ultralytics.utils.ops import xywh2xyxy

        out = targets.new_zeros(batch_size, objects, targets.shape[1] - 1)
        out.copy_(targets[:, 1:].view(out.shape))
        out[..., 1:5] = xywh2xyxy(out[..., 1:5].mul_(scale_tensor))
        return out

    kind.preprocess = preprocess
    try:
        yield
    finally:
        kind.preprocess = own


def _no_logits(_module: torch.nn.Module, _batch: Mapping[str, Any]) -> torch.Tensor:
    raise ModelError(
        "a detector's outputs before its loss are no one tensor: neither distillation nor cached "
        "features are covered",
        mend=f"Choose another {FieldName('strategy')}",
    )
