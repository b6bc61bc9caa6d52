"""Images: one file or a folder of them, a folder a class; only headers are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from planner.datasets import media
from planner.datasets.readers import IMAGE, Budget, Reader, Sample
from planner.datasets.readers.media_folder import read_media


def read(files: Sequence[Path], root: Path, budget: Budget) -> Sample:
    """Raises DataError for broken images, MissingExtraError without Pillow."""
    return read_media(
        "image_folder", "image", files, root, budget, lambda file: {IMAGE: media.image_size(file)}
    )


READER = Reader("image_folder", media.IMAGE_SUFFIXES, read, hint="images, a folder a class")
