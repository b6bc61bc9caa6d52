"""What a denoiser is told beside the noisy latents: made from captions by the frozen text encoders,
and handed to the denoiser as its class takes it.

Every kind has ``inputs(parts, config, B)`` → names and shapes of what the data holds, ``told(model,
batch)`` → tensors (what a cache of embeddings keeps), and ``call(model, latents, times, told)`` →
the denoiser's prediction, [B, channels, height, width]."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    Tensors = Mapping[str, torch.Tensor]

#: Flux's guidance of the scripts (--guidance_scale 3.5); it changes no cost.
GUIDANCE = 3.5
#: A pixel's six numbers that SDXL is told: size, crop and target size.
SIZES = 6


@dataclass(frozen=True)
class Condition:
    """``ids``: inputs of a sample besides its pixels, name → length (None: one number)."""

    ids: Callable[[Any], dict[str, int | None]]
    told: Callable[[Any, Tensors], dict[str, torch.Tensor]]
    call: Callable[[Any, torch.Tensor, torch.Tensor, Tensors], torch.Tensor]


def _encoders(model: Any) -> list[str]:
    return [name for name in model.pipeline.parts if name.startswith("text_encoder")]


def _captions(model: Any) -> dict[str, int | None]:
    """Token ids of each text encoder: the last one's padded to the row's length, the others' to
    their positions."""
    names = _encoders(model)
    last = names[-1]
    return {
        f"{name}_ids": model.pipeline.caption_tokens
        if name == last
        else getattr(model, name).config.max_position_embeddings
        for name in names
    }


def _text(model: Any, batch: Tensors) -> dict[str, torch.Tensor]:
    return {"embeddings": model.text_encoder(batch["text_encoder_ids"], return_dict=False)[0]}


def _call_text(model: Any, latents: Any, times: Any, told: Tensors) -> Any:
    return model.denoiser(latents, times, told["embeddings"], return_dict=False)[0]


def _second_last(encoder: Any, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(hidden states before the last layer, what the encoder pools)."""
    found = encoder(ids, output_hidden_states=True, return_dict=False)
    return found[-1][-2], found[0]


def _text_and_size(model: Any, batch: Tensors) -> dict[str, torch.Tensor]:
    import torch

    first, _ = _second_last(model.text_encoder, batch["text_encoder_ids"])
    second, pooled = _second_last(model.text_encoder_2, batch["text_encoder_2_ids"])
    return {"embeddings": torch.cat([first, second], dim=-1), "pooled": pooled}


def _call_text_and_size(model: Any, latents: Any, times: Any, told: Tensors) -> Any:
    sizes = latents.new_zeros((latents.shape[0], SIZES))
    added = {"text_embeds": told["pooled"], "time_ids": sizes}
    return model.denoiser(
        latents, times, told["embeddings"], added_cond_kwargs=added, return_dict=False
    )[0]


def _joint(model: Any, batch: Tensors) -> dict[str, torch.Tensor]:
    """Both CLIP towers beside each other, padded to the width of T5, before T5's."""
    import torch

    first, one = _second_last(model.text_encoder, batch["text_encoder_ids"])
    second, two = _second_last(model.text_encoder_2, batch["text_encoder_2_ids"])
    long = model.text_encoder_3(batch["text_encoder_3_ids"])[0]
    both = torch.cat([first, second], dim=-1)
    wide = torch.nn.functional.pad(both, (0, long.shape[-1] - both.shape[-1]))
    return {
        "embeddings": torch.cat([wide, long], dim=-2),
        "pooled": torch.cat([one, two], dim=-1),
    }


def _call_joint(model: Any, latents: Any, times: Any, told: Tensors) -> Any:
    return model.denoiser(
        hidden_states=latents,
        timestep=times,
        encoder_hidden_states=told["embeddings"],
        pooled_projections=told["pooled"],
        return_dict=False,
    )[0]


def _packed(model: Any, batch: Tensors) -> dict[str, torch.Tensor]:
    pooled = model.text_encoder(batch["text_encoder_ids"], output_hidden_states=False).pooler_output
    return {
        "embeddings": model.text_encoder_2(batch["text_encoder_2_ids"])[0],
        "pooled": pooled,
    }


def _call_packed(model: Any, latents: Any, times: Any, told: Tensors) -> Any:
    """Latents as rows of two by two, as FluxPipeline packs them."""
    b, channels, height, width = latents.shape
    rows = latents.view(b, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    rows = rows.reshape(b, (height // 2) * (width // 2), channels * 4)
    guided = model.denoiser.config.guidance_embeds
    out = model.denoiser(
        hidden_states=rows,
        timestep=times / model.scheduler.config.num_train_timesteps,
        guidance=latents.new_full((b,), GUIDANCE) if guided else None,
        pooled_projections=told["pooled"],
        encoder_hidden_states=told["embeddings"],
        txt_ids=latents.new_zeros((told["embeddings"].shape[1], 3)),
        img_ids=latents.new_zeros((rows.shape[1], 3)),
        return_dict=False,
    )[0]
    out = out.view(b, height // 2, width // 2, channels, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return out.reshape(b, channels, height, width)


def _long_text(model: Any, batch: Tensors) -> dict[str, torch.Tensor]:
    """T5's, of which padding is masked."""
    ids = batch["text_encoder_ids"]
    mask = ids.new_ones(ids.shape)
    found = model.text_encoder(ids, attention_mask=mask)[0]
    return {"embeddings": found, "mask": mask}


def _call_long_text(model: Any, latents: Any, times: Any, told: Tensors) -> Any:
    b = latents.shape[0]
    sized = bool(getattr(model.denoiser, "use_additional_conditions", False))
    added = {
        "resolution": latents.new_zeros((b, 2)) if sized else None,
        "aspect_ratio": latents.new_zeros((b, 1)) if sized else None,
    }
    out = model.denoiser(
        latents,
        encoder_hidden_states=told["embeddings"],
        encoder_attention_mask=told["mask"],
        timestep=times,
        added_cond_kwargs=added,
        return_dict=False,
    )[0]
    return out.chunk(2, 1)[0]  # the other half is the learned variance


def _label(_model: Any) -> dict[str, int | None]:
    return {"labels": None}


def _class(_model: Any, batch: Tensors) -> dict[str, torch.Tensor]:
    return {"labels": batch["labels"]}


def _call_class(model: Any, latents: Any, times: Any, told: Tensors) -> Any:
    out = model.denoiser(latents, times, told["labels"], return_dict=False)[0]
    return out.chunk(2, 1)[0]  # the other half is the learned variance


CONDITIONS: dict[str, Condition] = {
    "text": Condition(_captions, _text, _call_text),
    "text_and_size": Condition(_captions, _text_and_size, _call_text_and_size),
    "joint": Condition(_captions, _joint, _call_joint),
    "packed": Condition(_captions, _packed, _call_packed),
    "long_text": Condition(_captions, _long_text, _call_long_text),
    "class": Condition(_label, _class, _call_class),
}
