"""Sounds with transcripts as speech models read them: a decoder's tokens, or frames and characters
of CTC."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.datasets.profile import DatasetProfile
from planner.datasets.tokens import is_by_letter
from planner.first_lines import FirstLine
from planner.models.building.speech import frames_per_second, is_ctc, window_seconds
from planner.models.constants import constant
from planner.models.facts import ModelFacts
from planner.plan.inputs.defaults import default


def transcribed(facts: ModelFacts, data: DatasetProfile, assumptions: list[str]) -> DatasetProfile:
    """The data with ``lengths`` of a decoder's tokens; for CTC ``lengths`` are frames of the model
    and ``target_lengths`` characters. What is not known is assumed and said."""
    if is_ctc(facts.task, facts.config or {}):
        return _by_ctc(facts, data, assumptions)
    if data.lengths is not None:
        return data
    if data.target_lengths is not None:
        return replace(data, lengths=data.target_lengths, target_lengths=None)
    rate = default("transcript_tokens_per_second")[0]
    assumptions.append(f"transcripts are taken at {rate:g} tokens a second of speech")
    return replace(data, lengths=_whole(_seconds(data, "speech_seconds") * rate))


def heard_lines(facts: ModelFacts, data: DatasetProfile) -> list[FirstLine]:
    """A warning where sounds are longer than the window of the model's encoder."""
    window = window_seconds(facts.config or {}) if facts.modality == "audio" else None
    if window is None or data.audio_seconds is None or not (data.audio_seconds > window).any():
        return []
    lost = 1 - np.minimum(data.audio_seconds, window).sum() / data.audio_seconds.sum()
    text = (
        f"the model hears {window:g} s of a clip: {lost:.0%} of the sound lies behind and is not "
        f"trained on; cut clips to {window:g} s first and give their number"
    )
    return [FirstLine("data", text, warning=True)]


def spoken(facts: ModelFacts, data: DatasetProfile, assumptions: list[str]) -> DatasetProfile:
    """Texts with the sounds of them: ``lengths`` are characters, ``target_lengths`` steps of the
    decoder that writes the spectrogram. What is not known is assumed and said."""
    config = facts.config or {}
    seconds = _seconds(data, "clip_seconds")
    characters = _characters(facts, data, seconds, assumptions)
    if data.audio_seconds is None:
        assumptions.append(f"a clip is taken as {float(seconds.mean()):g} s of speech")
    frames = constant("mel_frames_per_second", config["model_type"])
    factor = int(config.get("reduction_factor") or 2)
    assumptions.append(
        f"{frames:g} mel frames a second, {factor} of them a step of the decoder; the sound itself "
        "is made by a vocoder that is not trained"
    )
    return replace(data, lengths=characters, target_lengths=_whole(seconds * frames / factor))


def _in_letters(facts: ModelFacts, data: DatasetProfile) -> bool:
    """Whether the data's texts were counted by the letters that the model writes or reads."""
    return data.source != "counts" and is_by_letter(facts.vocabulary)


def _characters(
    facts: ModelFacts, data: DatasetProfile, seconds: np.ndarray, assumptions: list[str]
) -> np.ndarray:
    """Of each text: by its tokens where they are known, else by the length of its sound."""
    letters = default("transcript_characters_per_second")[0]
    words = default("transcript_tokens_per_second")[0]
    texts = data.lengths if data.target_lengths is None else data.target_lengths
    if texts is not None and _in_letters(facts, data):
        return texts
    if texts is None:
        assumptions.append(f"texts are taken at {letters:g} characters a second of speech")
        return _whole(seconds * letters)
    assumptions.append(f"a token of the texts is taken as {letters / words:.1f} characters")
    return _whole(texts * (letters / words))


def _by_ctc(facts: ModelFacts, data: DatasetProfile, assumptions: list[str]) -> DatasetProfile:
    seconds = _seconds(data, "clip_seconds")
    letters = default("transcript_characters_per_second")[0]
    words = default("transcript_tokens_per_second")[0]
    if data.target_lengths is None:
        targets = _whole(seconds * letters)
        assumptions.append(f"transcripts are taken at {letters:g} characters a second of speech")
    elif _in_letters(facts, data):
        targets = data.target_lengths
    else:
        targets = _whole(data.target_lengths * (letters / words))
        assumptions.append(
            f"a token of the transcripts is taken as {letters / words:.1f} characters"
        )
    if data.audio_seconds is None:
        assumptions.append(f"a clip is taken as {float(seconds.mean()):g} s of speech")
    rate = frames_per_second(facts.config or {})
    assumptions.append(
        f"CTC over {facts.vocabulary or 'the config’s'} characters and {rate:g} frames a second: "
        "lengths are frames of the encoder"
    )
    return replace(data, lengths=_whole(seconds * rate), target_lengths=targets)


def _seconds(data: DatasetProfile, assumed: str) -> np.ndarray:
    if data.audio_seconds is not None:
        return data.audio_seconds
    return np.array([default(assumed)[0]])


def _whole(lengths: np.ndarray) -> np.ndarray:
    return np.maximum(1, np.round(lengths)).astype(np.int64)
