"""Facts become a module on torch's meta device: no weights, no memory, milliseconds."""

from __future__ import annotations

from collections.abc import Callable

from planner.blame import raised_by_planner
from planner.errors import ModelError, PlannerError
from planner.models.building.built import BuiltModel
from planner.models.building.real_batch import real_batches
from planner.models.facts import ModelFacts

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
    device: str = "meta",
) -> BuiltModel:
    """The model in training mode on ``device``, its weights in ``dtype``, with a way to feed it.

    On ``meta`` nothing takes memory; on a real device the weights are those that the constructors
    initialise, and batches hold values that the model takes (see ``real_batch``).

    ``attention``: eager | sdpa | flash (built as sdpa: the tracer records the fused kernel).
    ``classes`` overrides a classifier's number of labels, ``image_size`` (pixels) an image model's
    input, ``audio_samples`` is a raw waveform's length (required by models that read one),
    ``images`` the pictures of a sample; ``vision_tower`` frozen (None) | trained.
    ``channels_last`` lays a convolutional model's weights and images out as NHWC. Raises ModelError
    for what cannot be built and MissingExtraError when its library is not installed.
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
    try:
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
        )
    except (PlannerError, KeyboardInterrupt, MemoryError, torch.OutOfMemoryError):
        raise
    # any library's own complaint about a config: one line, not its traceback
    except Exception as error:
        if raised_by_planner(error):
            raise
        raise ModelError(
            f"{facts.library} cannot build it: {type(error).__name__}: {str(error)[:200]}",
            where=facts.name,
            mend="Check its config.json, or give a factory package.module:function",
        ) from error
    built.module.train()
    if device != "meta" and facts.library != "factory":
        built.make_batch = real_batches(built, device)
    return built


def _builder(facts: ModelFacts) -> Callable[..., BuiltModel]:
    if facts.library == "transformers":
        from planner.models.building.hf import build_transformers

        return build_transformers
    if facts.library == "factory":
        from planner.models.building.factory import build_factory

        return build_factory
    from planner.models.building.vision import build_vision

    return build_vision
