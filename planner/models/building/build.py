"""Facts become a module on torch's meta device: no weights, no memory, milliseconds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from planner.blame import raised_by_planner
from planner.errors import ModelError, PlannerError
from planner.models.building.built import BuiltModel
from planner.models.building.real_batch import real_batches
from planner.models.facts import ModelFacts
from planner.tasks import tasks

DTYPES = ("float32", "float16", "bfloat16", "float64")


def build(
    facts: ModelFacts,
    *,
    attention: str = "sdpa",
    dtype: str = "float32",
    classes: int | None = None,
    image_size: int | None = None,
    audio_samples: int | None = None,
    images: int | None = None,
    vision_tower: str | None = None,
    task: str | None = None,
    channels_last: bool = False,
    negatives: int = 0,
    largest: tuple[int, int] | None = None,
    objects: int | None = None,
    device: str = "meta",
) -> BuiltModel:
    """The model in training mode on ``device``, its weights in ``dtype``, with a way to feed it.

    On ``meta`` nothing takes memory; on a real device the weights are those that the constructors
    initialise, and batches hold values that the model takes (see ``real_batch``).

    ``attention``: eager | sdpa | flash | flex (both built as sdpa: the tracer records the fused
    kernel).
    ``classes`` overrides a classifier's number of labels, ``image_size`` (pixels) an image model's
    input, ``audio_samples`` is a raw waveform's length (required by models that read one).
    ``images``: the pictures of a sample; ``vision_tower``: frozen (None) | trained.
    ``negatives``: hard negatives beside each query of an embedding model. ``largest``: (width,
    height) in pixels of a detector's images, whose number of objects is the symbol T then;
    ``objects`` of each image otherwise. ``channels_last`` lays a convolutional model's weights and
    images out as NHWC. Raises ModelError for what cannot be
    built and MissingExtraError when its library is not installed.
    """
    import torch

    if dtype not in DTYPES:
        raise ModelError(
            f"weights cannot be trained in {dtype!r}", mend=f"Use one of {', '.join(DTYPES)}"
        )
    weights = {
        "float32": torch.float32,
        "float16": torch.float16,
        "bfloat16": torch.bfloat16,
        "float64": torch.float64,
    }[dtype]
    seeing = facts.library == "transformers"
    crowd = {"largest": largest, "objects": objects} if largest or objects else {}
    with _complaints(facts):
        built = _builder(facts)(
            facts,
            attention=attention,
            dtype=weights,
            classes=classes,
            image_size=image_size,
            audio_samples=audio_samples,
            task=task or facts.task,
            channels_last=channels_last,
            device=device,
            **({"images": images, "vision_tower": vision_tower} if seeing else {}),
            **({"negatives": negatives} if negatives else {}),
            **crowd,
        )
    built.module.train()
    if device != "meta" and facts.library != "factory":
        built.make_batch = real_batches(built, device)
    return built


@contextlib.contextmanager
def _complaints(facts: ModelFacts) -> Iterator[None]:
    """Any library's own complaint about a config: one line, not its traceback."""
    import torch

    try:
        yield
    except (PlannerError, KeyboardInterrupt, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if raised_by_planner(error):
            raise
        raise ModelError(
            f"{facts.library} cannot build it: {type(error).__name__}: {str(error)[:200]}",
            where=facts.name,
            mend="Check its config.json, or give a factory package.module:function",
        ) from error


def own_classes(facts: ModelFacts, task: str | None = None) -> int | None:
    """How many classes the library gives the task's head by itself; None where a head has no
    classes, or it is not known how many (a model of the user's own)."""
    known = tasks().get(task or facts.task)
    if known is None or not known.classes:
        return None
    with _complaints(facts):
        if facts.library == "transformers":
            from planner.models.building.hf import own_labels

            return own_labels(facts)
        if facts.library in ("timm", "torchvision") and known.name == "image_classification":
            from planner.models.building.vision import own_labels as of_vision

            return of_vision(facts)
    return None


def _builder(facts: ModelFacts) -> Callable[..., BuiltModel]:
    if facts.library == "transformers":
        from planner.models.building.hf import build_transformers

        return build_transformers
    if facts.library == "diffusers":
        from planner.models.building.diffusion.build import build_diffusion

        return build_diffusion
    if facts.library == "factory":
        from planner.models.building.factory import build_factory

        return build_factory
    if facts.library == "ultralytics":
        from planner.models.building.yolo import build_yolo

        return build_yolo
    if facts.library == "torchvision" and facts.task != "image_classification":
        from planner.models.building.detectors import build_detector

        return build_detector
    from planner.models.building.vision import build_vision

    return build_vision
