"""What a folder of annotated images holds, before any image is opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

IMAGE_FILES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm"))
TRAIN = ("train", "training", "train2017", "train2014")


@dataclass(frozen=True)
class Annotated:
    """``images``: the files of the training split; ``sizes``: (width, height) of each of
    ``samples`` images where the annotations say it, else empty. ``objects``: boxes or masks of each
    image, empty where nothing counts them. ``classes`` None where nothing says them. ``read``:
    files that were read for it. ``said``: for the first lines; ``broken``: what of the annotations
    cannot be read or contradicts itself, each a warning."""

    format: str
    images: Sequence[Path]
    samples: int
    sizes: Sequence[tuple[int, int]] = ()
    objects: Sequence[int] = ()
    classes: int | None = None
    read: Sequence[Path] = ()
    said: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()


def images_in(folder: Path) -> list[Path]:
    """The image files of a folder and those below it, in order."""
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in IMAGE_FILES)


def training(folders: Sequence[Path]) -> Path | None:
    """Of the splits that folders are named by, the one to train on; the only one, whatever its
    name."""
    named = [folder for folder in folders if folder.name.lower() in TRAIN]
    return named[0] if named else folders[0] if len(folders) == 1 else None


def objects_said(counts: Sequence[int], what: str) -> str:
    """``860,001 boxes, 7.3 an image with any, 93 at most; 1,021 images have none``."""
    some = [count for count in counts if count]
    if not some:
        return f"no image has {what}"
    mean, empty = sum(some) / len(some), len(counts) - len(some)
    text = f"{sum(some):,} {what}, {mean:.3g} an image with any, {max(some):,} at most"
    return text + (f"; {empty:,} images have none" if empty else "")


def first_of(count: int, places: Sequence[str]) -> str:
    """``5 (the first: labels/000.txt:3)``."""
    return f"{count:,} (the first: {places[0]})" if places else f"{count:,}"
