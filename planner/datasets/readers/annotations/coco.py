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
    first_of,
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
LEAST_KEYS = 2
#: After the last list of a whole file.
ENDS = b"}"
#: Numbers of a box.
BOX = 4
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
    sizes, objects, classes, broken = _understood(chosen)
    images = _images(folder, chosen)
    said = [objects_said(objects, "boxes"), f"{classes} categories"]
    left = len(files) - 1
    if left:
        said.append(
            f"{chosen.relative_to(folder)} is counted, {left} other files of annotations not"
        )
    missing = len(sizes) - len(images)
    if images and missing > 0:
        text = f"{missing:,} of the {len(sizes):,} annotated images are not in {images[0].parent}"
        broken = (*broken, f"{text}: they are counted all the same")
    if not images:
        said.append("its images are not there: their sizes are those of the annotations")
    return Annotated(
        *("coco", images, len(sizes), sizes, objects, classes, (chosen,), ("; ".join(said),)),
        broken=broken,
    )


def _files(folder: Path) -> list[Path]:
    found = dict.fromkeys(
        file for name in NAMES for file in sorted(folder.glob(name)) if _is_coco(file)
    )
    return list(found)


def _is_coco(file: Path) -> bool:
    """Whether the file has the three lists, or two of them and no end, so that one cut off is not
    taken for something else: all of a small one is looked at, the ends of a large one."""
    with file.open("rb") as handle:
        head = handle.read(HEAD_BYTES)
        size = file.stat().st_size
        if size <= PARSED_BYTES:
            head += handle.read()
            known = sum(key in head for key in KEYS)
            whole = head.rstrip().endswith(ENDS)
            return known == len(KEYS) or known >= LEAST_KEYS and not whole
        handle.seek(max(0, size - HEAD_BYTES))
        ends = head + handle.read()
    return any(key in ends for key in KEYS)


Understood = tuple[list[tuple[int, int]], list[int], int, tuple[str, ...]]


def _understood(file: Path) -> Understood:
    """(sizes of images, boxes of each image, number of categories, what is broken)."""
    return _parsed(file) if file.stat().st_size <= PARSED_BYTES else _searched(file)


def _parsed(file: Path) -> Understood:
    try:
        document: dict[str, Any] = json.loads(file.read_bytes())
        images = document["images"]
        counts = Counter(one["image_id"] for one in document["annotations"])
        sizes = [(int(one["width"]), int(one["height"])) for one in images]
        objects = [counts[one["id"]] for one in images]
        known = {one["id"] for one in document["categories"]}
        broken = _contradictions(document["annotations"], {one["id"] for one in images}, known)
        return sizes, objects, len(known), broken
    except json.JSONDecodeError as error:
        raise DataError(
            f"the annotations are cut off or no JSON: {error.msg}",
            where=f"{file}:{error.lineno}:{error.colno}",
            mend="Fetch or write the file again",
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"no annotations as COCO has them: {type(error).__name__}: {error}",
            where=str(file),
            mend="It holds images (id, width, height), annotations (image_id) and categories",
        ) from error


def _contradictions(
    annotations: Sequence[dict[str, Any]], images: set[Any], categories: set[Any]
) -> tuple[str, ...]:
    """What annotations name and the lists do not hold, and boxes without an area."""
    stray = [str(a.get("id")) for a in annotations if a["image_id"] not in images]
    strange = [str(a.get("id")) for a in annotations if a.get("category_id") not in categories]
    flat = [
        str(a.get("id"))
        for a in annotations
        if (box := a.get("bbox")) is not None and (len(box) != BOX or min(box[2:]) <= 0)
    ]
    found = (
        (stray, "annotations of images that are not listed", "they are left out"),
        (strange, "annotations of categories that are not listed", "a trainer stops at them"),
        (flat, "boxes without a width and a height", "they are counted, some trainers stop there"),
    )
    return tuple(
        f"{what}: {first_of(len(ids), [f'id {ids[0]}'])}; {then}"
        for ids, what, then in found
        if ids
    )


def _searched(file: Path) -> Understood:
    """Of a large file: its numbers by their keys, whatever stands around them."""
    with file.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        numbers = [(match[1], int(match[2])) for match in _SIZE.finditer(data)]
        counts = Counter(int(match[1]) for match in _OF_IMAGE.finditer(data))
        start = _CATEGORIES.search(data)
        text = data[start.end() - 1 : start.end() + 2**22] if start else b"[]"
        if not data[-HEAD_BYTES:].rstrip().endswith(ENDS):
            raise DataError(
                "the annotations are cut off: the file does not end as JSON does",
                where=str(file),
                mend="Fetch or write the file again",
            )
    pairs = [dict(numbers[i : i + 2]) for i in range(0, len(numbers), 2)]
    if not pairs or any(len(pair) != 2 for pair in pairs) or len(counts) > len(pairs):
        raise DataError("its images do not all have a width and a height", where=str(file))
    sizes = [(pair[b"width"], pair[b"height"]) for pair in pairs]
    objects = [*counts.values(), *([0] * (len(sizes) - len(counts)))]
    categories, _ = json.JSONDecoder().raw_decode(text.decode("utf-8", errors="replace"))
    return sizes, objects, len(categories), ()


def _images(folder: Path, file: Path) -> Sequence[Path]:
    """The files of the split: beside Roboflow's annotations, else in the folder of its name."""
    if file.name == "_annotations.coco.json":
        return images_in(file.parent)
    split = file.stem.partition("_")[2]
    places = (folder / split, folder / "images" / split, folder / "images")
    return next((found for place in places if place.is_dir() and (found := images_in(place))), [])
