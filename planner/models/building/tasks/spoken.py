"""Text to speech: a decoder that writes mel spectrograms (SpeechT5)."""

from __future__ import annotations

from typing import Any

from planner.errors import ModelError
from planner.models.building.tasks.base import Feed, TrainingTask

UNGUIDED = (
    "the guided attention loss of its first epochs is left out: it loops over the samples of a "
    "batch on the processor, and moves less than 1 % of a step's bytes"
)


def _with_spectrograms(feed: Feed, b: int, s: int | None, t: int | None) -> dict[str, Any]:
    """S characters of text, T steps of the decoder, each of ``reduction_factor`` mel frames."""
    config = feed.config
    frames = (t or 0) * config.reduction_factor
    return {
        "input_ids": feed.ids(b, s),
        "attention_mask": feed.mask(b, s),
        "decoder_attention_mask": feed.mask(b, frames),
        "speaker_embeddings": feed.values(b, config.speaker_embedding_dim),
        "labels": feed.values(b, frames, config.num_mel_bins),
    }


def _unguided(config: Any, _classes: int | None) -> None:
    config.use_guided_attention_loss = False


def _says_frames(feed: Feed) -> None:
    if not getattr(feed.config, "reduction_factor", None):
        raise ModelError(
            "only speech that is written as mel frames (SpeechT5) can be trained",
            where=feed.name,
            mend="Give a factory package.module:function",
        )


def _said(_module: Any, _config: Any) -> tuple[frozenset[str], tuple[str, ...]]:
    return frozenset(), (UNGUIDED,)


def _spectrogram(module: Any, batch: Any) -> Any:
    """[B, frames, bins]: what a student imitates."""
    return module(**batch).spectrogram


def _absolute_distance(student: Any, teacher: Any) -> Any:
    from torch.nn import functional

    return functional.l1_loss(student, teacher)


def _postnet(module: Any) -> tuple[str, ...]:
    """What turns the decoder's states into frames."""
    return ("speech_decoder_postnet",) if hasattr(module, "speech_decoder_postnet") else ()


TASKS = (
    TrainingTask(
        "text_to_speech",
        ("AutoModelForTextToSpectrogram",),
        _with_spectrograms,
        symbols=("B", "S", "T"),
        logits=_spectrogram,
        soft_loss=_absolute_distance,
        head=_postnet,
        adapt=_unguided,
        frozen=_said,
        check=_says_frames,
    ),
)
