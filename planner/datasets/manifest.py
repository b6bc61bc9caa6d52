"""Tables that name media by path: seconds and pixels from their own columns, or from the files
beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from planner.datasets import media
from planner.datasets.layout.cells import names
from planner.datasets.layout.cells.walk import spread
from planner.datasets.readers import AUDIO, IMAGE, Budget, Sample
from planner.errors import MissingExtraError

PROBED = 200
MOST_ODD = 0.1  # of the cells that name no medium, in a column that names media
#: Folders beside a table with what it names: LJSpeech's wavs/, Common Voice's clips/.
BESIDE = (".", "wavs", "clips", "audio", "images", "data")
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
