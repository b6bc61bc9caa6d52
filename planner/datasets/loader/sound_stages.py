"""Sounds: decoded by soundfile, resampled, and made into what transformers' feature extractors hand
to the model."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from planner.datasets.constants import speech_rate_hz
from planner.datasets.loader.sources import Source, version
from planner.datasets.loader.stages import Pipeline, Stage
from planner.errors import MissingExtraError
from planner.libraries import import_library

if TYPE_CHECKING:
    import torch

#: Sounds whose rate is looked at before the measurement.
RATES_SEEN = 8


@dataclass(frozen=True)
class Wave:
    """float32 [frames], one channel."""

    frames: np.ndarray
    rate: int


def sound_pipeline(source: Source, task: str | None) -> Pipeline:
    if importlib.util.find_spec("soundfile") is None:
        raise MissingExtraError("soundfile", "data", "Decoding sounds")
    resampler = next(
        (name for name in RESAMPLERS if importlib.util.find_spec(name) is not None), None
    )
    stages = [Stage("decode", "audio_second", version("soundfile"), decode_sound, sound_seconds)]
    doubts = []
    if resampler is not None:
        stages.append(Stage("resample", "audio_second", version(resampler), Resample(resampler)))
    elif _other_rate(source):
        doubts.append(
            (
                f"sounds of another rate than {speech_rate_hz()} Hz were not resampled: no "
                "library for it is installed",
                "Install soxr or torchaudio, then measure again",
            )
        )
    if importlib.util.find_spec("transformers") is None:
        doubts.append(
            (
                "no spectrogram was made: transformers is not installed",
                "Install it with: pip install 'planner[hf]', then measure again",
            )
        )
        return Pipeline(
            "audio_second",
            (*stages, Stage("transform", "audio_second", version("numpy"), frames_of)),
            doubts=tuple(doubts),
        )
    extract, note = _extractor(task)
    return Pipeline("audio_second", (*stages, extract), notes=(note,), doubts=tuple(doubts))


def _other_rate(source: Source) -> bool:
    """Whether one of the first readable sounds has another rate than speech models take."""
    import soundfile

    rate = speech_rate_hz()
    for index in range(min(len(source), RATES_SEEN)):
        try:
            if soundfile.info(io.BytesIO(source.read(index))).samplerate != rate:
                return True
        except (OSError, RuntimeError):  # a broken file is skipped and counted when it is measured
            continue
    return False


def _extractor(task: str | None) -> tuple[Stage, str]:
    """A raw waveform for a classifier of sounds, as wav2vec 2.0 takes it; else Whisper's log-mel
    spectrogram."""
    library = import_library("transformers", "extracting features of sounds")
    name = f"transformers {library.__version__}"
    if task == "audio_classification":
        return Stage(
            "transform", "audio_second", name, Extract(library.Wav2Vec2FeatureExtractor())
        ), "sounds are normalised waveforms (wav2vec 2.0)"
    return Stage(
        "transform", "sample", name, Extract(library.WhisperFeatureExtractor())
    ), "sounds become log-mel spectrograms padded to 30 s (Whisper)"


def decode_sound(data: bytes) -> Wave:
    """soundfile raises its own and the codec's errors for a broken file."""
    import soundfile

    frames, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    return Wave(np.ascontiguousarray(frames.mean(axis=1)), rate)


def sound_seconds(wave: Wave) -> float:
    return len(wave.frames) / wave.rate


@dataclass(frozen=True)
class Resample:
    """To the rate of speech models by one of RESAMPLERS; nothing where the sound has that rate
    already."""

    library: str

    def __call__(self, wave: Wave) -> Wave:
        rate = speech_rate_hz()
        if wave.rate == rate:
            return wave
        frames = RESAMPLERS[self.library](wave, rate)
        return Wave(frames.astype(np.float32, copy=False), rate)


def _by_soxr(wave: Wave, rate: int) -> np.ndarray:
    import soxr  # pyright: ignore[reportMissingImports]

    return soxr.resample(wave.frames, wave.rate, rate)


def _by_torchaudio(wave: Wave, rate: int) -> np.ndarray:
    import torch
    import torchaudio  # pyright: ignore[reportMissingImports]

    frames = torch.from_numpy(wave.frames)
    return torchaudio.functional.resample(frames, wave.rate, rate).numpy()


def _by_scipy(wave: Wave, rate: int) -> np.ndarray:
    from scipy.signal import resample_poly  # pyright: ignore[reportMissingImports]

    common = np.gcd(rate, wave.rate)
    return resample_poly(wave.frames, rate // common, wave.rate // common)


#: The libraries that resample, the best first.
RESAMPLERS: dict[str, Callable[[Wave, int], np.ndarray]] = {
    "soxr": _by_soxr,
    "torchaudio": _by_torchaudio,
    "scipy": _by_scipy,
}


@dataclass(frozen=True)
class Extract:
    """A feature extractor of transformers on one sound: the float32 tensor that enters the
    model."""

    extractor: Any

    def __call__(self, wave: Wave) -> Any:
        # The rate is the extractor's own: a sound that could not be resampled costs about as much
        # at its own length.
        found = self.extractor(
            wave.frames, sampling_rate=self.extractor.sampling_rate, return_tensors="pt"
        )
        return next(iter(found.values()))[0]


def frames_of(wave: Wave) -> torch.Tensor:
    import torch

    return torch.from_numpy(wave.frames)
