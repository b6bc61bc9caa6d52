"""YOLO: ``images/train`` and ``labels/train`` (or ``train/images`` and ``train/labels``) with one
text file an image, one line a box; classes in ``data.yaml``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from planner.datasets.readers.annotations.found import (
    Annotated,
    images_in,
    objects_said,
    training,
)
from planner.errors import DataError

#: A class and the four numbers of a box; label files that are looked at for one.
BOX_NUMBERS, PROBED = 5, 20
NUMBER = re.compile(r"[-+]?\d*\.?\d+(e[-+]?\d+)?", re.IGNORECASE)


def find(folder: Path) -> Annotated | None:
    """What the folder's labels say, None where it has none of this shape. Raises DataError for a
    data.yaml that cannot be read."""
    split = _split(folder)
    if split is None:
        return None
    pictures, labels = split
    images = images_in(pictures)
    objects = [_boxes(labels / image.relative_to(pictures).with_suffix(".txt")) for image in images]
    classes = _classes(folder)
    seen = f"{classes} classes" if classes else "no data.yaml names its classes"
    where = pictures.relative_to(folder)
    said = f"{where} is counted: {objects_said(objects, 'boxes')}; {seen}"
    return Annotated("yolo", images, len(images), (), objects, classes, (), (said,))


def _split(folder: Path) -> tuple[Path, Path] | None:
    """(images, labels) of the training split."""
    pictures, labels = folder / "images", folder / "labels"
    if pictures.is_dir() and labels.is_dir():
        inside = [part for part in sorted(pictures.iterdir()) if (labels / part.name).is_dir()]
        chosen = training([part for part in inside if part.is_dir()])
        pair = (chosen, labels / chosen.name) if chosen else (pictures, labels)
    else:
        parts = [part for part in sorted(folder.iterdir()) if (part / "labels").is_dir()]
        chosen = training(parts)
        if chosen is None or not (chosen / "images").is_dir():
            return None
        pair = chosen / "images", chosen / "labels"
    return pair if any(_is_box(file) for file in sorted(pair[1].rglob("*.txt"))[:PROBED]) else None


def _is_box(file: Path) -> bool:
    """Whether its first line is a class and at least two points or a box."""
    words = file.read_text("utf-8", errors="replace").partition("\n")[0].split()
    return len(words) >= BOX_NUMBERS and all(NUMBER.fullmatch(word) for word in words)


def _boxes(labels: Path) -> int:
    """Lines of a label file; an image without one has no box."""
    if not labels.is_file():
        return 0
    return sum(1 for line in labels.read_bytes().splitlines() if line.strip())


def _classes(folder: Path) -> int | None:
    """Of ``data.yaml``: its names, or its number of them."""
    file = next((f for f in sorted(folder.glob("*.y*ml")) if f.is_file()), None)
    if file is None:
        return None
    try:
        document: Any = yaml.safe_load(file.read_text("utf-8", errors="replace"))
    except yaml.YAMLError as error:
        raise DataError(f"no YAML: {str(error)[:100]}", where=str(file)) from error
    if not isinstance(document, dict):
        return None
    names, count = document.get("names"), document.get("nc")
    if isinstance(names, (list, dict)) and names:
        return len(names)
    return count if isinstance(count, int) and count > 0 else None
