"""Which stages the samples of a source go through, by the real libraries.

The stages are those of the usual training programs: Pillow and torchvision's ImageNet augmentation
(Pillow and numpy where torchvision is not installed), soundfile and transformers' feature
extractors, a ``tokenizer.json`` by tokenizers.
"""

from __future__ import annotations

from pathlib import Path

from planner.datasets.constants import constant
from planner.datasets.loader.image_stages import image_pipeline
from planner.datasets.loader.sound_stages import sound_pipeline
from planner.datasets.loader.sources import Source, Texts
from planner.datasets.loader.stages import Pipeline
from planner.datasets.loader.text_stages import text_pipeline


def pipeline(
    source: Source,
    *,
    task: str | None = None,
    tokenizer_path: str | Path | None = None,
    image_size: int | None = None,
) -> Pipeline:
    """The stages for a source. Raises MissingExtraError for a library that nothing replaces,
    DataError for a bad tokenizer."""
    if isinstance(source, Texts):
        return text_pipeline(source, tokenizer_path)
    if source.modality == "audio":
        return sound_pipeline(source, task)
    return image_pipeline(image_size or int(constant("image_side")))
