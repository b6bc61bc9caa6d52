"""timm and torchvision image classifiers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from planner.errors import FieldName, ModelError, NoCheckpointingError, UnknownNameError
from planner.libraries import import_library
from planner.models.building.built import BuiltModel, largest_module_list
from planner.models.building.meta import make_on
from planner.models.building.wrapping import HEADLESS, checkpoint_blocks, with_classifier
from planner.models.constants import constant
from planner.models.facts import ModelFacts

if TYPE_CHECKING:
    import torch

#: Where vision models keep their repeated parts, and the stages of ResNets and RegNets.
BLOCK_ATTRIBUTES = ("blocks", "stages", "layers", "features", "trunk_output")
STAGES = (
    ("layer1", "layer2", "layer3", "layer4"),
    ("s1", "s2", "s3", "s4"),
    ("stage2", "stage3", "stage4"),
)
#: torchvision's heads by their attribute's name.
TORCHVISION_HEADS = ("fc", "classifier", "heads", "head")
RGB = 3
AS_THEY_LIE = (
    "its images and weights lie as NCHW: torch makes no channels-last copy of a model with weights "
    "of five dimensions"
)


def build_vision(
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
) -> BuiltModel:
    """See ``planner.models.building.build.build``. Without ``classes`` the library's default number
    (1000, ImageNet's) is built."""
    if task != "image_classification":
        raise ModelError(
            f"{facts.library} models are image classifiers, not {task}", where=facts.name
        )
    module, head, size = (_timm if facts.library == "timm" else _torchvision)(
        facts,
        dtype=dtype,
        classes=classes,
        image_size=image_size,
        attention=attention,
        device=device,
    )
    layout = _layout(module, channels_last)
    as_they_lie = channels_last and layout is not _channels_last()
    headless = hasattr(module, "encoder_without_head")
    return BuiltModel(
        module=module,
        facts=facts,
        task=task,
        symbols=("B",),
        make_batch=_batch_maker(dtype, size, layout),
        loss_function=_loss,
        logits_function=lambda model, batch: model(batch["images"]),
        head=head,
        blocks=vision_blocks(module),
        checkpoint=_checkpointing(module, facts),
        assumptions=(*((AS_THEY_LIE,) if as_they_lie else ()), *((HEADLESS,) if headless else ())),
    )


def _timm(
    facts: ModelFacts,
    *,
    dtype: torch.dtype,
    classes: int | None,
    image_size: int | None,
    attention: str,
    device: str,
) -> tuple[torch.nn.Module, tuple[str, ...], int]:
    timm = import_library("timm", f"the model {facts.name}")
    name, own = facts.architecture or "", own_labels(facts)
    published = timm.get_pretrained_cfg(name)
    own_size = published.input_size[-1]
    options: dict[str, Any] = {"num_classes": classes or own}
    if image_size is not None and image_size != own_size and published.fixed_input_size:
        options["img_size"] = image_size
    timm.layers.set_fused_attn(attention != "eager")

    def make() -> Any:
        made: Any = timm.create_model(name, **options)
        if hasattr(made, "get_classifier"):
            return made
        return with_classifier(made, made.num_features, options["num_classes"])

    module: Any = make_on(device, make, dtype)
    names = {id(part): path for path, part in module.named_modules()}
    return (
        module,
        tuple(names[id(part)] for part in _parts(module.get_classifier()) if id(part) in names),
        image_size or own_size,
    )


def own_labels(facts: ModelFacts) -> int:
    """Of the published weights, else ImageNet's, as torchvision's constructors have it."""
    name, published = facts.architecture or "", None
    if facts.library == "timm":
        timm = import_library("timm", f"the model {facts.name}")
        if not timm.is_model(name):
            raise UnknownNameError("timm model", name, timm.list_models())
        published = timm.get_pretrained_cfg(name).num_classes
    return published or int(constant("imagenet_classes"))


def _parts(classifier: Any) -> tuple[Any, ...]:
    return tuple(classifier) if isinstance(classifier, (tuple, list)) else (classifier,)


def _torchvision(
    facts: ModelFacts,
    *,
    dtype: torch.dtype,
    classes: int | None,
    image_size: int | None,
    attention: str,
    device: str,
) -> tuple[torch.nn.Module, tuple[str, ...], int]:
    models = import_library("torchvision", f"the model {facts.name}").models
    name = facts.architecture or ""
    known = models.list_models(module=models)
    if name not in known:
        raise UnknownNameError("torchvision model", name, known)
    size = image_size or facts.image_size
    if size is None:
        raise ModelError(
            "torchvision does not say how large its images are",
            where=facts.name,
            mend=f"Give {FieldName('image_size')}",
        )
    options: dict[str, Any] = {"num_classes": classes or own_labels(facts)}
    if name.startswith("vit_"):
        options["image_size"] = size
    if name in ("googlenet", "inception_v3"):
        options["init_weights"] = False  # their initialisation draws from scipy, slowly
    if name == "googlenet":
        options["aux_logits"] = False  # as its published weights are loaded
    module = make_on(device, lambda: models.get_model(name, weights=None, **options), dtype)
    head = next((attribute for attribute in TORCHVISION_HEADS if hasattr(module, attribute)), None)
    return module, (head,) if head else (), size


def vision_blocks(module: torch.nn.Module) -> list[torch.nn.Module]:
    """The repeated parts from input to output: a transformer's blocks, a convolutional network's
    stages."""
    module = getattr(module, "encoder_without_head", module)
    for name in BLOCK_ATTRIBUTES:
        part: Any = getattr(module, name, None)
        # HRNet has a method of this name
        children = list(part.children()) if hasattr(part, "children") else []
        if children:
            return children
    stages = next(
        (
            found
            for names in STAGES
            if (found := [getattr(module, name) for name in names if hasattr(module, name)])
        ),
        [],
    )
    encoder = getattr(getattr(module, "encoder", None), "layers", None)  # torchvision's ViT
    return stages or (
        list(encoder.children()) if encoder is not None else largest_module_list(module)
    )


def _channels_last() -> Any:
    import torch

    return torch.channels_last


def _layout(module: Any, channels_last: bool) -> Any:
    """That of images, and from now on of the weights."""
    import torch

    if channels_last:
        try:
            module.to(memory_format=torch.channels_last)
            return torch.channels_last
        except RuntimeError:  # weights of five dimensions
            module.to(memory_format=torch.contiguous_format)
    return torch.contiguous_format


def _batch_maker(
    dtype: torch.dtype, size: int, layout: Any
) -> Callable[[int, int | None, int | None], dict[str, Any]]:
    import torch

    def make(B: int, S: int | None, T: int | None) -> dict[str, torch.Tensor]:
        images = torch.empty((B, RGB, size, size), dtype=dtype, device="meta", memory_format=layout)
        return {"images": images, "labels": torch.empty((B,), dtype=torch.int64, device="meta")}

    return make


def _loss(module: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Cross entropy in float32. GoogLeNet and Inception return their auxiliary outputs beside the
    logits in training."""
    import torch

    output = module(batch["images"])
    main = output if isinstance(output, torch.Tensor) else output[0]
    return torch.nn.functional.cross_entropy(main.float(), batch["labels"])


def _checkpointing(module: torch.nn.Module, facts: ModelFacts) -> Callable[..., None]:
    def enable(**options: Any) -> None:
        if facts.library == "timm" and not options:
            _timm_checkpointing(module, facts.name)
        else:
            checkpoint_blocks(vision_blocks(module), options)

    return enable


def _timm_checkpointing(module: Any, name: str) -> None:
    try:
        module.set_grad_checkpointing(True)
    except (AssertionError, AttributeError) as error:
        raise NoCheckpointingError(
            "this timm model has no gradient checkpointing",
            where=name,
            mend=f"Leave {FieldName('gradient_checkpointing')} out",
        ) from error
