"""COCO: ``annotations/instances_train2017.json`` with images beside it, or Roboflow's
``train/_annotations.coco.json``.

A file with the annotations of a large dataset is half a gigabyte: it is searched, not loaded.
"""

from __future__ import annotations

import json
import mmap
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from planner.datasets.readers.annotations.found import (
    Annotated,
    images_in,
    objects_said,
)
from planner.errors import DataError

NAMES = ("annotations/instances_*.json", "annotations/*.json", "*/_annotations.coco.json")
NAMES += ("_annotations.coco.json", "*.coco.json", "instances_*.json")
#: A file up to this size is parsed as JSON.
PARSED_BYTES = 64 * 2**20
HEAD_BYTES = 2**16
KEYS = (b'"images"', b'"annotations"', b'"categories"')
_SIZE = re.compile(rb'"(width|height)"\s*:\s*(\d+)')
_OF_IMAGE = re.compile(rb'"image_id"\s*:\s*(\d+)')
_CATEGORIES = re.compile(rb'"categories"\s*:\s*\[')


def find(folder: Path) -> Annotated | None:
    """What the folder's annotations say, None where it has none of this shape. Raises DataError
    for annotations that cannot be read."""
    files = _files(folder)
    if not files:
        return None
    chosen = next((file for file in files if "train" in str(file.relative_to(folder))), files[0])
    sizes, objects, classes = _understood(chosen)
    images = _images(folder, chosen)
    said = [objects_said(objects, "boxes"), f"{classes} categories"]
    left = len(files) - 1
    if left:
        said.append(
            f"{chosen.relative_to(folder)} is counted, {left} other files of annotations not"
        )
    if not images:
        said.append("its images are not there: their sizes are those of the annotations")
    return Annotated(
        "coco", images, len(sizes), sizes, objects, classes, (chosen,), ("; ".join(said),)
    )


def _files(folder: Path) -> list[Path]:
    found = dict.fromkeys(
        file for name in NAMES for file in sorted(folder.glob(name)) if _is_coco(file)
    )
    return list(found)


def _is_coco(file: Path) -> bool:
    """Whether the file has the three lists: all of a small one is looked at, the ends of a large
    one."""
    with file.open("rb") as handle:
        head = handle.read(HEAD_BYTES)
        size = file.stat().st_size
        if size <= PARSED_BYTES:
            head += handle.read()
            return all(key in head for key in KEYS)
        handle.seek(max(0, size - HEAD_BYTES))
        ends = head + handle.read()
    return any(key in ends for key in KEYS)


Understood = tuple[list[tuple[int, int]], list[int], int]


def _understood(file: Path) -> Understood:
    """(sizes of images, boxes of each image, number of categories)."""
    return _parsed(file) if file.stat().st_size <= PARSED_BYTES else _searched(file)


def _parsed(file: Path) -> Understood:
    try:
        document: dict[str, Any] = json.loads(file.read_bytes())
        images = document["images"]
        counts = Counter(one["image_id"] for one in document["annotations"])
        sizes = [(int(one["width"]), int(one["height"])) for one in images]
        objects = [counts[one["id"]] for one in images]
        return sizes, objects, len(document["categories"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"no annotations as COCO has them: {type(error).__name__}: {error}",
            where=str(file),
            mend="It holds images (id, width, height), annotations (image_id) and categories",
        ) from error


def _searched(file: Path) -> Understood:
    """Of a large file: its numbers by their keys, whatever stands around them."""
    with file.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        numbers = [(match[1], int(match[2])) for match in _SIZE.finditer(data)]
        counts = Counter(int(match[1]) for match in _OF_IMAGE.finditer(data))
        start = _CATEGORIES.search(data)
        text = data[start.end() - 1 : start.end() + 2**22] if start else b"[]"
    pairs = [dict(numbers[i : i + 2]) for i in range(0, len(numbers), 2)]
    if not pairs or any(len(pair) != 2 for pair in pairs) or len(counts) > len(pairs):
        raise DataError("its images do not all have a width and a height", where=str(file))
    sizes = [(pair[b"width"], pair[b"height"]) for pair in pairs]
    objects = [*counts.values(), *([0] * (len(sizes) - len(counts)))]
    categories, _ = json.JSONDecoder().raw_decode(text.decode("utf-8", errors="replace"))
    return sizes, objects, len(categories)


def _images(folder: Path, file: Path) -> Sequence[Path]:
    """The files of the split: beside Roboflow's annotations, else in the folder of its name."""
    if file.name == "_annotations.coco.json":
        return images_in(file.parent)
    split = file.stem.partition("_")[2]
    places = (folder / split, folder / "images" / split, folder / "images")
    return next((found for place in places if place.is_dir() and (found := images_in(place))), [])
