"""Pictures in one folder and their masks, of the same names, in another: ``images/`` and
``masks/``, as segmentation datasets lie on disk (ADE20K: ``images/training`` and
``annotations/training``)."""

from __future__ import annotations

from pathlib import Path

from planner.datasets.readers.annotations.found import Annotated, images_in, training

PICTURES = ("images", "image", "imgs", "JPEGImages")
MASKS = ("masks", "mask", "annotations", "labels", "SegmentationClass", "gt")
#: Of pictures that must have a mask of their name.
PAIRED = 0.5


def find(folder: Path) -> Annotated | None:
    """Pairs of pictures and masks, None where the folder has none."""
    pair = next(
        (
            (folder / pictures, folder / masks)
            for pictures in PICTURES
            for masks in MASKS
            if (folder / pictures).is_dir() and (folder / masks).is_dir()
        ),
        None,
    )
    if pair is None:
        return None
    pictures, masks = _train(*pair)
    images = images_in(pictures)
    named = {file.stem.removesuffix("_mask"): file for file in images_in(masks)}
    paired = [image for image in images if image.stem in named]
    if not images or len(paired) < PAIRED * len(images):
        return None
    said = f"{len(paired):,} pictures with a mask"
    if len(paired) < len(images):
        said += f", {len(images) - len(paired):,} without one left out"
    files = [named[image.stem] for image in paired]
    return Annotated("masks", paired, len(paired), read=files, said=(said,))


def _train(pictures: Path, masks: Path) -> tuple[Path, Path]:
    """The training split of both, where they have splits."""
    parts = [part for part in sorted(pictures.iterdir()) if part.is_dir()]
    chosen = training([part for part in parts if (masks / part.name).is_dir()])
    return (chosen, masks / chosen.name) if chosen else (pictures, masks)
