"""Batches for transformers models: meta tensors with the shapes and dtypes that training feeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from planner.datasets.constants import speech_rate_hz
from planner.errors import FieldName, ModelError
from planner.models.building.speech import is_ctc, waveform_samples
from planner.models.constants import constant

if TYPE_CHECKING:
    import torch

    #: Sizes → a tensor on meta.
    Maker = Callable[..., torch.Tensor]

SYMBOLS = {
    "seq2seq_lm": ("B", "S", "T"),
    "image_classification": ("B",),
    "audio_classification": ("B",),
    "contrastive": ("B",),
}


def symbols_of(task: str, *, ctc: bool = False) -> tuple[str, ...]:
    return ("B", "S", "T") if ctc else SYMBOLS.get(task, ("B", "S"))


def batch_maker(
    module: torch.nn.Module,
    config: Any,
    task: str,
    dtype: torch.dtype,
    audio_samples: int | None,
    name: str,
) -> Callable[[int, int | None, int | None], dict[str, Any]]:
    """(B, S, T) → the keyword arguments of the module's forward pass. Raises ModelError for a
    waveform without a length."""
    import torch

    def ids(*shape: int | None) -> torch.Tensor:
        return torch.empty(cast("tuple[int, ...]", shape), dtype=torch.int64, device="meta")

    def values(*shape: int) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, device="meta")

    def labels(batch: int) -> torch.Tensor:
        return (
            values(batch)
            if getattr(config, "num_labels", 2) == 1 and task == "text_classification"
            else ids(batch)
        )

    def mask(*shape: int | None) -> torch.Tensor:
        return torch.ones(cast("tuple[int, ...]", shape), dtype=torch.int64, device="meta")

    makers = {
        "causal_lm": lambda b, s, t: {"input_ids": (x := ids(b, s)), "labels": x},
        "masked_lm": lambda b, s, t: {
            "input_ids": ids(b, s),
            "attention_mask": mask(b, s),
            "labels": ids(b, s),
        },
        "text_classification": lambda b, s, t: {
            "input_ids": ids(b, s),
            "attention_mask": mask(b, s),
            "labels": labels(b),
        },
        "token_classification": lambda b, s, t: {
            "input_ids": ids(b, s),
            "attention_mask": mask(b, s),
            "labels": ids(b, s),
        },
        "seq2seq_lm": lambda b, s, t: {"input_ids": ids(b, s), "labels": ids(b, t)},
        "image_classification": lambda b, s, t: {
            "pixel_values": values(b, *_image(config, name)),
            "labels": ids(b),
        },
        "contrastive": lambda b, s, t: _pairs(config, name, b, ids, values, mask),
        "question_answering": lambda b, s, t: {
            "input_ids": ids(b, s),
            "attention_mask": mask(b, s),
            "start_positions": ids(b),
            "end_positions": ids(b),
        },
        "speech_recognition": lambda b, s, t: {
            "input_features": values(b, *_mel(config, name)),
            "labels": ids(b, s),
        },
        "ctc": lambda b, s, t: {**_frames(config, b, s, values), "labels": ids(b, t)},
        "audio_classification": lambda b, s, t: _audio(config, name, audio_samples, b, ids, values),
    }
    if task == "audio_classification" and audio_samples is None and _reads_waveform(config):
        raise ModelError(
            "reads raw sound: the length of a sample is needed",
            where=name,
            mend=f"Give the data, or the length in samples ({speech_rate_hz():,} a second)",
        )
    return makers["ctc" if is_ctc(task, config) else task]


def _frames(config: Any, batch: int, frames: int, values: Maker) -> dict[str, torch.Tensor]:
    """Sound of so many frames of the encoder: filter banks (wav2vec2-bert), else a waveform."""
    bands = getattr(config, "feature_projection_input_dim", None)
    if bands is not None and not hasattr(config, "conv_stride"):
        return {"input_features": values(batch, frames, bands)}
    return {"input_values": values(batch, waveform_samples(config, frames))}


def _image(config: Any, name: str) -> tuple[int, int, int]:
    vision = getattr(config, "vision_config", config)
    size = getattr(vision, "image_size", None)
    if size is None:
        raise ModelError(
            "its config does not say how large its images are",
            where=name,
            mend=f"Give {FieldName('image_size')}",
        )
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    return getattr(vision, "num_channels", 3), height, width


def _pairs(
    config: Any, name: str, batch: int, ids: Maker, values: Maker, mask: Maker
) -> dict[str, Any]:
    """Images with captions of the text tower's full, fixed length (77 tokens in CLIP)."""
    length = config.text_config.max_position_embeddings
    return {
        "input_ids": ids(batch, length),
        "pixel_values": values(batch, *_image(config, name)),
        "attention_mask": mask(batch, length),
        "return_loss": True,
    }


def _mel(config: Any, name: str) -> tuple[int, int]:
    bins, positions = (
        getattr(config, "num_mel_bins", None),
        getattr(config, "max_source_positions", None),
    )
    if bins is None or positions is None:
        raise ModelError(
            "only speech models with a fixed window of mel frames (Whisper) can be fed",
            where=name,
            mend="Give a factory package.module:function",
        )
    return bins, positions * int(constant("mel_frames_per_position"))


def _reads_waveform(config: Any) -> bool:
    return hasattr(config, "conv_kernel") or hasattr(config, "feat_extract_norm")


def _audio(
    config: Any, name: str, audio_samples: int | None, batch: int, ids: Maker, values: Maker
) -> dict[str, Any]:
    """A raw waveform for the wav2vec 2.0 family, a fixed window of mel frames for Whisper and
    spectrogram transformers."""
    if _reads_waveform(config):
        return {"input_values": values(batch, audio_samples), "labels": ids(batch)}
    if getattr(config, "max_source_positions", None) is not None:
        return {"input_features": values(batch, *_mel(config, name)), "labels": ids(batch)}
    frames, bins = getattr(config, "max_length", None), getattr(config, "num_mel_bins", None)
    if frames is None or bins is None:
        raise ModelError(
            "its config does not say what sound it reads",
            where=name,
            mend="Give a factory package.module:function",
        )
    return {"input_values": values(batch, frames, bins), "labels": ids(batch)}
