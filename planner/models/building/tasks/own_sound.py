"""Sound by what a config, or a model's first layer, says of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from planner.errors import ModelError
from planner.models.building.tasks.base import Feed, config_parts
from planner.models.building.tasks.sound import sound_of
from planner.models.constants import constant

#: What the families call the bands of their filter banks.
_BANDS = (
    "num_mel_bins",
    "n_mels",
    "input_feat_per_channel",
    "feature_projection_input_dim",
    "feature_size",
    "input_feat_size",
    "input_dim",
    "d_model",
)


def sounds(feed: Feed, b: int) -> Iterator[Any]:
    """Shapes of sound that a model may read, of ``feed.audio_samples`` samples: what its config
    says; else filter banks, frames before bands or after them; else a waveform, with a channel or
    without. Raises ModelError where nothing says how long it is."""
    samples = feed.audio_samples
    if samples is None:
        raise ModelError("nothing says how long its sound is", where=feed.name)
    try:
        yield sound_of(feed, b)
    except ModelError:
        pass
    frames = max(1, samples // int(constant("mel_hop_samples")))
    for bands in _bands(feed.config):
        yield feed.values(b, frames, bands)
        yield feed.values(b, bands, frames)
    yield feed.values(b, samples)
    yield feed.values(b, 1, samples)


def _bands(config: Any) -> list[int]:
    """Every number that a config or a part of it gives under one of the names, each once."""
    found = [getattr(part, name, None) for name in _BANDS for part in config_parts(config)]
    return list(dict.fromkeys(value for value in found if isinstance(value, int)))
