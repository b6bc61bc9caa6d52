"""Images with boxes or masks: COCO, YOLO, folders of masks; headers of images are read, and a few
masks for their classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from planner.datasets import media
from planner.datasets.blocks import Tally
from planner.datasets.readers import IMAGE, Budget, Reader, Sample
from planner.datasets.readers.annotations import coco, masks, yolo
from planner.datasets.readers.annotations.found import Annotated
from planner.errors import DataError, MissingExtraError

#: Masks that are opened for the classes in them, and the value of pixels without a class.
OPENED, NO_CLASS = 64, 255


def claims(folder: Path) -> tuple[list[Path], tuple[str, ...]] | None:
    """The folder's images (of COCO without images the annotations), where it has annotations."""
    found = _found(folder)
    return None if found is None else ([*found.images] or [*found.read], ())


def _found(folder: Path) -> Annotated | None:
    shapes = (coco.find, yolo.find, masks.find)
    return next((found for find in shapes if (found := find(folder)) is not None), None)


def read(files: Sequence[Path], root: Path, budget: Budget) -> Sample:
    """A record an image: its size. Raises DataError for annotations or images that cannot be
    read."""
    found = _found(root)
    if found is None or not found.samples:
        raise DataError("there is no annotated image to count", where=str(root))
    tally = Tally()
    sizes = list(found.sizes) or _measured(found.images, budget, tally)
    classes, said = found.classes, found.said
    if found.format == "masks":
        classes = _classes_of(found.read)
        said = (f"{said[0]}; {classes} classes in the masks that were opened",)
    return Sample(
        found.format,
        [{IMAGE: size} for size in sizes],
        found.samples,
        len(sizes) == found.samples,
        "image",
        warnings=(*found.broken, *tally.warnings("Remove or replace the broken files")),
        classes=classes,
        said=said,
        objects=found.objects,
    )


def _spread(files: Sequence[Path], most: int) -> list[Path]:
    index = np.unique(np.linspace(0, len(files) - 1, min(len(files), most)).astype(int))
    return [files[i] for i in index]


def _measured(images: Sequence[Path], budget: Budget, tally: Tally) -> list[tuple[int, int]]:
    """(width, height) of a spread part of the images, from their headers."""
    sizes, chosen = [], _spread(images, budget.media_files)
    for done, file in enumerate(chosen):
        try:
            sizes.append(media.image_size(file))
        except media.BrokenMediumError as error:
            tally.skip(str(file), str(error))
        budget.report((done + 1) / len(chosen))
    tally.good = len(sizes)
    return sizes


def _classes_of(files: Sequence[Path]) -> int:
    """Classes up to the largest value of a few masks; of masks of 0 and 255 two."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError("pillow", "data", "Reading masks") from error
    seen: set[int] = set()
    for file in _spread(files, OPENED):
        with Image.open(file) as image:
            seen |= {int(value) for value in np.unique(np.asarray(image))}
    return 2 if seen <= {0, NO_CLASS} else max(seen - {NO_CLASS}, default=0) + 1


READER = Reader("annotated_images", (), read, claims, hint="images with boxes or masks")
