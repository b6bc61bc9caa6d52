"""Sounds: one file or a folder of them; only headers are read (WAV by the standard library, others
by soundfile)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from planner.datasets import media
from planner.datasets.readers import AUDIO, Budget, Reader, Sample
from planner.datasets.readers.media_folder import read_media


def read(files: Sequence[Path], root: Path, budget: Budget) -> Sample:
    """Raises DataError for broken files, MissingExtraError for a compressed format without
    soundfile."""
    return read_media(
        "audio_folder",
        "audio",
        files,
        root,
        budget,
        lambda file: {AUDIO: media.audio_seconds(file, file.suffix.lower())},
    )


READER = Reader("audio_folder", media.AUDIO_SUFFIXES, read, hint="sounds")
