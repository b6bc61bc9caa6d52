"""Media that tables name by path or hold inside of their cells: seconds and pixels from their own
columns, or from the files beside them; pictures in lists and in the parts of messages, and how many
a record has."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from planner.datasets import media
from planner.datasets.layout.cells import names
from planner.datasets.layout.cells.messages import PICTURES
from planner.datasets.layout.cells.walk import spread
from planner.datasets.readers import AUDIO, IMAGE, Budget, Sample
from planner.errors import MissingExtraError

PROBED = 200
MOST_ODD = 0.1  # of the cells that name no medium, in a column that names media
#: Folders beside a table with what it names: LJSpeech's wavs/, Common Voice's clips/.
BESIDE = (".", "wavs", "clips", "audio", "images", "data")
DEEPEST = 6  # lists and dictionaries inside of each other that are looked into for pictures
#: The keys of a picture inside of a record under which its file or its bytes stand.
SOURCES = ("image", "image_url", "path", "url", "file_name", "bytes")
Records = Sequence[Mapping[str, Any]]


def with_media(sample: Sample, root: Path, budget: Budget) -> Sample:
    """The sample with seconds or pixels of what its records name, where that is known; only records
    whose file was measured are kept where files have to be opened."""
    if sample.modality != "text" or any(AUDIO in r or IMAGE in r for r in sample.records[:PROBED]):
        return sample
    found = _media_column(sample.records, root)
    if found is None:
        return sample
    column, modality = found
    known = _by_columns(sample.records, modality)
    if known is not None:
        return replace(sample, records=known, modality=modality)
    return _measured(sample, column, modality, root, budget)


def _media_column(records: Records, root: Path) -> tuple[str, str] | None:
    """(column, audio or image) of the paths of media; of names of files in ``wavs/``."""
    probe = records[:PROBED]
    columns = dict.fromkeys(key for record in probe for key in record)
    for column in columns:
        cells = [_path(record.get(column)) for record in probe]
        kinds = [media.modality_of(Path(cell).suffix.lower()) for cell in cells if cell]
        for modality in ("audio", "image"):
            if kinds and kinds.count(modality) >= (1 - MOST_ODD) * len(cells):
                return column, modality
    first = next(iter(columns), None)
    if first is not None and _file(root, _path(probe[0].get(first))) is not None:
        return first, "audio"
    return None


def _path(value: Any) -> str:
    """A cell's path: a text, or the one inside of {"path": …}."""
    if isinstance(value, dict):
        value = value.get("path")
    return value if isinstance(value, str) and "\n" not in value and len(value) < 1000 else ""


def _by_columns(records: Records, modality: str) -> list[dict[str, Any]] | None:
    """Records with what their own columns say of duration or size; None where they do not."""
    wanted = ("duration",) if modality == "audio" else ("width", "height")
    keys = [_key(records[0], meaning) for meaning in wanted]
    if not all(keys):
        return None
    out = []
    for record in records:
        numbers = [_number(record.get(key)) for key in keys]
        if all(numbers):
            out.append(dict(record) | _entry(modality, numbers))
    return out if len(out) >= (1 - MOST_ODD) * len(records) else None


def _key(record: Mapping[str, Any], meaning: str) -> str:
    by_name = {names.normal(key): key for key in record}
    return next((by_name[n] for n in names.words("key", meaning) if n in by_name), "")


def _number(value: Any) -> float:
    """A positive number; 0 where a cell holds none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return 0.0
    return number if 0 < number < float("inf") else 0.0


def _entry(modality: str, numbers: Sequence[float]) -> dict[str, Any]:
    return {AUDIO: numbers[0]} if modality == "audio" else {IMAGE: tuple(map(int, numbers))}


def _measured(sample: Sample, column: str, modality: str, root: Path, budget: Budget) -> Sample:
    """The records of up to ``media_files`` files, whose headers are read."""
    chosen = spread(len(sample.records), budget.media_files)
    records, kept = [], []
    for index in chosen:
        entry = _header(root, _path(sample.records[index].get(column)))
        if entry:
            records.append(dict(sample.records[index]) | entry)
            kept.append(index)
    if not records:
        said = f"the {'sounds' if modality == 'audio' else 'images'} that {column!r} names are not "
        said += "beside the table: "
        said += "their length is unknown" if modality == "audio" else "their sizes are unknown"
        return replace(sample, said=(*sample.said, said))
    return replace(
        sample,
        records=records,
        modality=modality,
        whole=sample.whole and len(records) == len(sample.records),
        blocks=None if sample.blocks is None else sample.blocks[kept],
    )


def _header(root: Path, name: str) -> dict[str, Any] | None:
    file = _file(root, name)
    if file is None:
        return None
    try:
        return media.measured(file.name, file)
    except (media.BrokenMediumError, MissingExtraError, OSError):
        return None


def _file(root: Path, name: str) -> Path | None:
    """The file that a cell names, beside the table or in one of the usual folders."""
    if not name:
        return None
    return next((file for file in _places(root, name) if file.is_file()), None)


def _places(root: Path, name: str) -> Iterator[Path]:
    if media.modality_of(Path(name).suffix.lower()):
        yield from (root / folder / name for folder in BESIDE)
        yield Path(name).expanduser()
    else:
        yield from (root / folder / f"{name}.wav" for folder in BESIDE[1:])


def with_pictures(sample: Sample, root: Path, budget: Budget) -> Sample:
    """The sample with the mean number of pictures in a record, and with the size of the first of
    each where it can be read; as it is where its records hold none."""
    probe = sample.records[:PROBED]
    if sample.modality != "text" or any(AUDIO in r or IMAGE in r for r in probe):
        return sample
    if not any(True for record in probe for _ in pictures(record)):
        return sample
    counts = [sum(1 for _ in pictures(record)) for record in sample.records]
    records = list(sample.records)
    for index in spread(len(records), budget.media_files):
        size = next((s for item in pictures(records[index]) if (s := _size(item, root))), None)
        if size is not None:
            records[index] = records[index] | {IMAGE: size}
    known = any(IMAGE in record for record in records)
    return replace(
        sample,
        records=records,
        modality="image" if known else sample.modality,
        images_per_sample=sum(counts) / len(counts),
    )


def pictures(value: Any, depth: int = 0) -> Iterator[Any]:
    """Every picture of a record: bytes, a path, or the dictionary that holds it."""
    if depth > DEEPEST:
        return
    if isinstance(value, Mapping):
        if _is_picture(value):
            yield value
            return
        for item in value.values():
            if isinstance(item, (Mapping, list, tuple)):
                yield from pictures(item, depth + 1)
    elif isinstance(value, (list, tuple)):
        for item in value:
            if isinstance(item, (Mapping, list, tuple)):
                yield from pictures(item, depth + 1)
            elif _is_image(item):
                yield item


def _is_picture(value: Mapping[str, Any]) -> bool:
    """A part of a message, or a cell as parquet files keep pictures: {bytes, path}."""
    if value.get("type") in PICTURES:
        return True
    stored = value.keys() <= {"bytes", "path"} and "bytes" in value
    return stored and (_is_image(value["bytes"]) or _is_image(value.get("path")))


def _is_image(value: Any) -> bool:
    if isinstance(value, bytes):
        return media.modality_of(media.suffix_of(value[:16]) or "") == "image"
    if not isinstance(value, str) or len(value) > 1000:
        return False
    return media.modality_of(Path(value).suffix.lower()) == "image"


def _size(item: Any, root: Path) -> tuple[int, int] | None:
    """(width, height), None where no file or bytes are at hand or they cannot be read."""
    if isinstance(item, Mapping):
        found = (_size(item[key], root) for key in SOURCES if item.get(key))
        return next((size for size in found if size), None)
    try:
        if isinstance(item, bytes):
            return media.image_size(io.BytesIO(item))
        file = _file(root, item) if isinstance(item, str) else None
        return None if file is None else media.image_size(file)
    except (media.BrokenMediumError, MissingExtraError, OSError):
        return None


def seconds_of(records: Records) -> np.ndarray | None:
    seconds = [r[AUDIO] for r in records if AUDIO in r]
    return np.array(seconds, dtype=np.float64) if seconds else None


def image_shapes(records: Records) -> np.ndarray | None:
    """int64 [images, 2]: width and height of each."""
    sizes = [r[IMAGE] for r in records if IMAGE in r]
    return np.array(sizes, dtype=np.int64) if sizes else None


def image_sizes(records: Records) -> tuple[int, int, int, int] | None:
    sizes = image_shapes(records)
    if sizes is None:
        return None
    (width, height), (widest, highest) = np.median(sizes, axis=0), sizes.max(axis=0)
    return int(width), int(height), int(widest), int(highest)


def medium_of(records: Records) -> str:
    """What the records hold beside text; "" where it is nothing."""
    seconds, sizes = seconds_of(records), image_sizes(records)
    if seconds is not None:
        return f"sounds of mean {seconds.mean():,.3g} s"
    return f"images of median {sizes[0]} × {sizes[1]} pixels" if sizes else ""
