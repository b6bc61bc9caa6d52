"""YOLO: ``images/train`` and ``labels/train`` (or ``train/images`` and ``train/labels``) with one
text file an image, one line a box; classes in ``data.yaml``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from planner.datasets.readers.annotations.found import (
    Annotated,
    first_of,
    images_in,
    objects_said,
    training,
)
from planner.errors import DataError
from planner.files import read_text

#: A class and the four numbers of a box; label files that are looked at for one.
BOX_NUMBERS, PROBED = 5, 20
#: A coordinate is a share of the image; trainers allow for rounding.
LARGEST_SHARE = 1.01
NUMBER = re.compile(r"[-+]?\d*\.?\d+(e[-+]?\d+)?", re.IGNORECASE)


def find(folder: Path) -> Annotated | None:
    """What the folder's labels say, None where it has none of this shape. Raises DataError for a
    data.yaml that cannot be read."""
    split = _split(folder)
    if split is None:
        return None
    pictures, labels = split
    images = images_in(pictures)
    of_image = {labels / i.relative_to(pictures).with_suffix(".txt"): i for i in images}
    found = [_labels(file, folder) for file in of_image]
    objects = [one.boxes for one in found]
    classes, stated = _classes(folder)
    highest = max((one.highest for one in found), default=-1)
    broken = [*_bad_lines(found), *_other_classes(classes, stated, highest)]
    stray = [str(f.relative_to(folder)) for f in sorted(labels.rglob("*.txt")) if f not in of_image]
    stray = [name for name in stray if not name.endswith("classes.txt")]
    if stray:
        broken.append(f"label files without an image: {first_of(len(stray), stray)}")
    seen = f"{classes} classes" if classes else "no data.yaml names its classes"
    if classes is None and highest >= 0:
        classes = highest + 1
        seen += f": {classes} by the highest in the labels"
    where = pictures.relative_to(folder)
    said = f"{where} is counted: {objects_said(objects, 'boxes')}; {seen}"
    return Annotated("yolo", images, len(images), (), objects, classes, (), (said,), tuple(broken))


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
    words = read_text(file, errors="replace").partition("\n")[0].split()
    return len(words) >= BOX_NUMBERS and all(NUMBER.fullmatch(word) for word in words)


@dataclass(frozen=True)
class Labels:
    """Of one file: lines that are boxes or polygons, the highest class in them (-1 where there is
    none), the places of lines that are none and of boxes in pixels."""

    boxes: int = 0
    highest: int = -1
    bad: tuple[str, ...] = ()
    beyond: tuple[str, ...] = ()


def _labels(file: Path, root: Path) -> Labels:
    """An image without a file has no box."""
    if not file.is_file():
        return Labels()
    boxes, highest, bad, beyond = 0, -1, [], []
    for number, line in enumerate(read_text(file, errors="replace").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        place = f"{file.relative_to(root)}:{number}"
        if not _is_object(words):
            bad.append(place)
            continue
        boxes, highest = boxes + 1, max(highest, int(float(words[0])))
        if max(abs(float(word)) for word in words[1:]) > LARGEST_SHARE:
            beyond.append(place)
    return Labels(boxes, highest, tuple(bad), tuple(beyond))


def _is_object(words: Sequence[str]) -> bool:
    """A whole class from 0 on, then a box, or the points of a polygon, or a box with points."""
    if len(words) < BOX_NUMBERS or not all(NUMBER.fullmatch(word) for word in words):
        return False
    return float(words[0]).is_integer() and float(words[0]) >= 0


def _bad_lines(found: Sequence[Labels]) -> list[str]:
    bad = [place for one in found for place in one.bad]
    beyond = [place for one in found for place in one.beyond]
    said = []
    if bad:
        said.append(
            f"label lines that are no class with four numbers: {first_of(len(bad), bad)}; they are "
            "left out, a trainer skips their whole images"
        )
    if beyond:
        said.append(
            f"boxes beyond their image: {first_of(len(beyond), beyond)}; YOLO's are shares of the "
            "width and height, and a trainer skips images with others"
        )
    return said


def _other_classes(classes: int | None, stated: int | None, highest: int) -> list[str]:
    """Where data.yaml and the labels do not agree on how many classes there are."""
    said = []
    if classes and stated and classes != stated:
        said.append(f"data.yaml says nc {stated} and names {classes} classes: {classes} are taken")
    if classes and highest >= classes:
        said.append(
            f"the labels have class {highest}, data.yaml {classes} classes (0 to {classes - 1}): "
            f"{classes} are taken, a trainer stops or skips those images"
        )
    return said


def _classes(folder: Path) -> tuple[int | None, int | None]:
    """Of ``data.yaml``: (its names, or its number of them; the number it states)."""
    file = next((f for f in sorted(folder.glob("*.y*ml")) if f.is_file()), None)
    if file is None:
        return None, None
    try:
        document: Any = yaml.safe_load(read_text(file, errors="replace"))
    except yaml.YAMLError as error:
        raise DataError(f"no YAML: {str(error)[:100]}", where=str(file)) from error
    if not isinstance(document, dict):
        return None, None
    names, count = document.get("names"), document.get("nc")
    stated = count if isinstance(count, int) and count > 0 else None
    if isinstance(names, (list, dict)) and names:
        return len(names), stated
    return stated, stated
