"""Tasks of sound: classifying it, writing down what is said."""

from __future__ import annotations

from typing import Any

from planner.datasets.constants import speech_rate_hz
from planner.errors import FieldName, ModelError
from planner.models.building.speech import is_ctc, waveform_samples
from planner.models.building.tasks.base import Feed, TrainingTask, output_embedding
from planner.models.building.tasks.text import classifier_config, decoder_logits
from planner.models.constants import constant

FROZEN_ENCODER = (
    "the convolutions that read the waveform are frozen, as transformers' CTC example does "
    "(freeze_feature_encoder)"
)


def _frames(feed: Feed, batch: int, frames: int) -> dict[str, Any]:
    """Sound of so many frames of the encoder: filter banks (wav2vec2-bert), else a waveform."""
    bands = getattr(feed.config, "feature_projection_input_dim", None)
    if bands is not None and not hasattr(feed.config, "conv_stride"):
        return {"input_features": feed.values(batch, frames, bands)}
    return {"input_values": feed.values(batch, waveform_samples(feed.config, frames))}


def _mel(feed: Feed) -> tuple[int, int]:
    bins, positions = (
        getattr(feed.config, "num_mel_bins", None),
        getattr(feed.config, "max_source_positions", None),
    )
    if bins is None or positions is None:
        raise ModelError(
            "its config has neither a fixed window of mel frames (Whisper) nor an encoder of "
            "waveforms (wav2vec 2.0), which speech recognition reads",
            where=feed.name,
            mend=f"Name another {FieldName('task')} (text_to_speech for models that speak), or "
            "give a factory package.module:function",
        )
    return bins, positions * int(constant("mel_frames_per_position"))


def _reads_waveform(config: Any) -> bool:
    return hasattr(config, "conv_kernel") or hasattr(config, "feat_extract_norm")


def _spoken(feed: Feed, b: int, s: int | None, _t: int | None) -> dict[str, Any]:
    return {"input_features": feed.values(b, *_mel(feed)), "labels": feed.ids(b, s)}


def _aligned(feed: Feed, b: int, s: int | None, t: int | None) -> dict[str, Any]:
    return {**_frames(feed, b, s or 0), "labels": feed.ids(b, t)}


def sound_of(feed: Feed, b: int) -> Any:
    """A raw waveform for the wav2vec 2.0 family, a fixed window of mel frames for Whisper and
    spectrogram transformers. Raises ModelError where the config says neither."""
    config = feed.config
    if _reads_waveform(config):
        return feed.values(b, feed.audio_samples or 0)
    if getattr(config, "max_source_positions", None) is not None:
        return feed.values(b, *_mel(feed))
    frames, bins = getattr(config, "max_length", None), getattr(config, "num_mel_bins", None)
    if frames is None or bins is None:
        raise ModelError(
            "its config does not say what sound it reads",
            where=feed.name,
            mend="Give a factory package.module:function",
        )
    return feed.values(b, frames, bins)


def _audio(feed: Feed, b: int, _s: int | None, _t: int | None) -> dict[str, Any]:
    config = feed.config
    mel = not _reads_waveform(config) and getattr(config, "max_source_positions", None) is not None
    name = "input_features" if mel else "input_values"
    return {name: sound_of(feed, b), "labels": feed.ids(b)}


def _has_a_length(feed: Feed) -> None:
    if feed.audio_samples is None and _reads_waveform(feed.config):
        raise ModelError(
            "reads raw sound: the length of a sample is needed",
            where=feed.name,
            mend=f"Give the data, or the length in samples ({speech_rate_hz():,} a second)",
        )


def _frozen_encoder(module: Any, _config: Any) -> tuple[frozenset[str], tuple[str, ...]]:
    if not hasattr(module, "freeze_feature_encoder"):
        return frozenset(), ()
    before = {name for name, p in module.named_parameters() if p.requires_grad}
    module.freeze_feature_encoder()
    now = {name for name, p in module.named_parameters() if p.requires_grad}
    return frozenset(before - now), (FROZEN_ENCODER,)


def _blank(config: Any, _classes: int | None) -> None:
    if getattr(config, "pad_token_id", None) is None:
        config.pad_token_id = 0  # the blank of CTC


def _speech_head(module: Any) -> tuple[str, ...]:
    return ("lm_head",) if hasattr(module, "lm_head") else output_embedding(module)


def _by_ctc(config: Any) -> TrainingTask | None:
    return CTC if is_ctc("speech_recognition", config) else None


SPEECH = ("AutoModelForSpeechSeq2Seq", "AutoModelForCTC")
CTC = TrainingTask(
    "speech_recognition",
    SPEECH,
    _aligned,
    symbols=("B", "S", "T"),
    head=_speech_head,
    adapt=_blank,
    frozen=_frozen_encoder,
)
TASKS = (
    TrainingTask(
        "speech_recognition",
        SPEECH,
        _spoken,
        logits=decoder_logits,
        head=_speech_head,
        variant=_by_ctc,
    ),
    TrainingTask(
        "audio_classification",
        ("AutoModelForAudioClassification",),
        _audio,
        symbols=("B",),
        adapt=classifier_config,
        check=_has_a_length,
    ),
)
