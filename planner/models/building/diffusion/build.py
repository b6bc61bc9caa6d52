"""A pipeline of diffusers becomes a BuiltModel: the denoiser trains, everything else is frozen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from planner.errors import FieldName, ImageSizeError, ModelError, NoCheckpointingError
from planner.models.building.built import BuiltModel
from planner.models.building.meta import make_on, on_device
from planner.models.facts import ModelFacts
from planner.models.pipelines import Pipeline, pipeline_of, reduction

if TYPE_CHECKING:
    import torch

    from planner.models.building.diffusion.latent import LatentDiffusion

RGB = 3
#: Lists of a denoiser's blocks from input to output, and its last layer.
BLOCKS = (
    "down_blocks",
    "mid_block",
    "up_blocks",
    "transformer_blocks",
    "single_transformer_blocks",
)
LAST = ("conv_out", "proj_out", "proj_out_2")
NOT_COUNTED = (
    "text-to-image: EMA of the weights, dropped captions and sample images for validation are not "
    "counted"
)
VARIANCE = "the loss of the learned variance is left out: its predictions are made, not judged"
LOOK_UP = "noise levels are drawn on the device: the scripts look each up on the host"


def build_diffusion(
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
    """See ``planner.models.building.build.build``. ``classes`` is the denoiser's own business."""
    from planner.models.building.diffusion.latent import LatentDiffusion
    from planner.models.building.diffusion.parts import make_part, make_scheduler

    config = facts.config or {}
    row = pipeline_of(config, facts.name)
    side = _side(facts, row, image_size)
    # on the processor, whatever the device is: its table of noise levels is read by numpy
    with on_device("cpu", dtype):
        scheduler = make_scheduler(config.get("scheduler", {}), row.is_flow)
    parts = {
        name: make_on(device, _maker(make_part, name, config, facts.name), dtype)
        for name in row.parts
    }
    module = LatentDiffusion(parts, row, scheduler)
    module.weight_type = dtype
    ids = module.condition.ids(module)
    said = _attention(module, attention)
    frozen = [name for name, _ in module.named_parameters() if not name.startswith(row.denoiser)]
    return BuiltModel(
        module=module,
        facts=facts,
        task=task,
        symbols=("B",),
        make_batch=lambda B, S, T: _batch(ids, side, B),
        loss_function=lambda model, batch: model(**batch),
        logits_function=_predicted,
        head=_head(module),
        blocks=_blocks(module.denoiser),
        checkpoint=_checkpointing(module, facts.name),
        frozen=frozenset(frozen),
        assumptions=(NOT_COUNTED, *said, *_of(row)),
        trunk=row.denoiser,
        store_half=module.store_half,
        cached=lambda built, variant: _cached(built, module, side, variant),
        preserve_prior=lambda built: _with_prior(built, module),
        features=lambda batch: module.encode(batch),
    )


def _predicted(model: Any, batch: Any) -> Any:
    return model.predict(*model.encode(batch))[0]


def _maker(make: Callable[..., Any], name: str, config: Any, where: str) -> Callable[[], Any]:
    return lambda: make(name, config[name], where)


def _of(row: Pipeline) -> tuple[str, ...]:
    learned = (VARIANCE,) if row.told in ("class", "long_text") else ()
    return (*learned, *((LOOK_UP,) if row.is_flow else ()))


def _side(facts: ModelFacts, row: Pipeline, asked: int | None) -> int:
    """Pixels of an image. Raises ModelError where the latents would have no whole size."""
    side = asked or facts.image_size
    if side is None:
        raise ModelError(
            "its config does not say how large its images are",
            where=facts.name,
            mend=f"Give {FieldName('image_size')}",
        )
    denoiser = (facts.config or {})[row.denoiser]
    step = reduction(facts.config or {})
    # a UNet halves its latents between blocks, a transformer cuts them into patches
    step *= 2 ** (len(denoiser.get("block_out_channels") or [0, 0]) - 1)
    if side % step:
        raise ImageSizeError(
            f"images of {side} pixels do not divide into its latents",
            where=facts.name,
            mend=f"Give {FieldName('image_size')} as a multiple of {step}",
        )
    return side


def _batch(ids: Mapping[str, int | None], side: int, B: int) -> dict[str, torch.Tensor]:
    """Images, and ``ids`` of each: name → length."""
    import torch

    def numbers(length: int | None) -> torch.Tensor:
        shape = (B,) if length is None else (B, length)
        return torch.empty(shape, dtype=torch.int64, device="meta")

    pixels = torch.empty((B, RGB, side, side), dtype=torch.float32, device="meta")
    return {"pixels": pixels, **{name: numbers(length) for name, length in ids.items()}}


def _cached(built: BuiltModel, module: LatentDiffusion, side: int, variant: str) -> None:
    """The same denoiser, fed with latents and embeddings that were made before. Raises ModelError
    on a real device, where nothing has made them."""
    import torch

    if not next(module.parameters()).is_meta:
        raise ModelError(
            "its latents and embeddings are not there to be read",
            where=built.facts.name,
            mend=f"Use {FieldName('cached_features', off=True)}",
        )
    ids, encoders = module.condition.ids(module), module.without_encoders()
    encode = encoders.encode
    if variant == "features":  # no denoiser is loaded where they run
        built.module, built.trunk, built.features = encoders, "", encode
        return
    kept: dict[str, tuple[tuple[int, ...], torch.dtype]] = {}

    def make(B: int, S: int | None, T: int | None) -> dict[str, torch.Tensor]:
        if not kept:  # what the frozen parts give out, once
            latents, told = encode(_batch(ids, side, 1))
            for name, tensor in {"latents": latents, **told}.items():
                kept[name] = tuple(tensor.shape[1:]), tensor.dtype
        return {
            name: torch.empty((B, *shape), dtype=dtype, device="meta")
            for name, (shape, dtype) in kept.items()
        }

    built.make_batch, built.frozen, built.features = make, frozenset(), None


def _with_prior(built: BuiltModel, module: LatentDiffusion) -> None:
    """A sample is an image of the subject and one of its class."""
    single, module.prior = built.make_batch, True
    built.make_batch = lambda B, S, T: single(2 * B, S, T)


def _blocks(denoiser: Any) -> list[torch.nn.Module]:
    found: list[Any] = []
    for name in BLOCKS:
        part = getattr(denoiser, name, None)
        if part is not None:
            found += [part] if name == "mid_block" else list(part)
    return found


def _head(module: LatentDiffusion) -> tuple[str, ...]:
    denoiser = module.pipeline.denoiser
    return tuple(f"{denoiser}.{name}" for name in LAST if hasattr(module.denoiser, name))


def _attention(module: LatentDiffusion, attention: str) -> tuple[str, ...]:
    """Unfused attention where the denoiser has a processor for it."""
    if attention != "eager":
        return ()
    from diffusers.models.attention_processor import AttnProcessor

    if module.pipeline.denoiser != "unet":
        return (f"{module.pipeline.name} has fused attention only",)
    module.denoiser.set_attn_processor(AttnProcessor())
    return ()


def _checkpointing(module: LatentDiffusion, name: str) -> Callable[..., None]:
    def enable(**options: Any) -> None:
        from torch.utils.checkpoint import checkpoint

        def recomputed(part: Any, *args: Any) -> Any:
            return checkpoint(part.__call__, *args, use_reentrant=False, **options)

        try:
            module.denoiser.enable_gradient_checkpointing(recomputed)
        except ValueError as error:
            raise NoCheckpointingError(
                "this denoiser has no gradient checkpointing",
                where=name,
                mend=f"Leave {FieldName('gradient_checkpointing')} out",
            ) from error

    return enable
