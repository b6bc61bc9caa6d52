"""Models that read a waveform and are trained by CTC: how long a frame is, and how long a waveform
of so many frames. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from planner.datasets.constants import speech_rate_hz
from planner.models.constants import constant, has


def is_ctc(task: str, config: Any) -> bool:
    """Whether speech recognition is CTC for this config (a mapping or the library's object): the
    wav2vec 2.0 family; the others write with a decoder."""
    return task == "speech_recognition" and has("frame_samples", _value(config, "model_type") or "")


def frames_per_second(config: Any) -> float:
    """Frames of the encoder for a second of sound at the rate that speech models take."""
    return speech_rate_hz() / samples_per_frame(config)


def window_seconds(config: Any) -> float | None:
    """Sound that a fixed window of mel frames holds (Whisper); None of models without one."""
    positions = _value(config, "max_source_positions")
    if not isinstance(positions, int) or _value(config, "num_mel_bins") is None:
        return None
    frames = positions * constant("mel_frames_per_position")
    return frames * constant("mel_hop_samples") / speech_rate_hz()


def samples_per_frame(config: Any) -> int:
    """By the strides that a config states, else its family's."""
    strides = _value(config, "conv_stride")
    if isinstance(strides, list | tuple) and strides and all(type(s) is int for s in strides):
        return math.prod(strides) * int(_value(config, "squeeze_factor") or 1)
    return int(constant("frame_samples", _value(config, "model_type")))


def waveform_samples(config: Any, frames: int) -> int:
    """The length of a waveform whose convolutions give so many frames, no sample left over."""
    length = frames * int(_value(config, "squeeze_factor") or 1)
    kernels, strides = _value(config, "conv_kernel"), _value(config, "conv_stride")
    for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
        length = (length - 1) * stride + kernel
    return length


def _value(config: Any, name: str) -> Any:
    return config.get(name) if isinstance(config, Mapping) else getattr(config, name, None)
