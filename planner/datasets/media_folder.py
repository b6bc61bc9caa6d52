"""What image folders and audio folders share: class folders, a metadata table, headers of a part of
the files."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from planner.datasets.blocks import Tally
from planner.datasets.media import BrokenMediumError
from planner.datasets.readers import Budget, Sample
from planner.errors import DataError

METADATA = ("metadata.jsonl", "metadata.csv")
#: Levels of folders that hold splits, not classes.
SPLITS = {
    "train",
    "training",
    "val",
    "valid",
    "validation",
    "test",
    "dev",
    "data",
    "images",
    "audio",
}


def read_media(
    format: str,
    modality: str,
    files: Sequence[Path],
    root: Path,
    budget: Budget,
    measure: Callable[[Path], dict[str, Any]],
) -> Sample:
    """A record a file: the measured header, the class folder as its label, and its row of the
    metadata table.

    Raises DataError when more than a small share of the headers cannot be read.
    """
    chosen = np.unique(
        np.linspace(0, len(files) - 1, min(len(files), budget.media_files)).astype(int)
    )
    metadata, records, tally = _metadata(files, root), [], Tally()
    for done, index in enumerate(chosen):
        file = files[index]
        try:
            records.append(metadata.get(file, {}) | measure(file))
        except BrokenMediumError as error:
            tally.skip(str(file), str(error))
        budget.report((done + 1) / len(chosen))
    tally.good = len(records)
    warnings = tally.warnings("Remove or replace the broken files")
    labels = {
        file.parent.name
        for file in files
        if file.parent != root and file.parent.name.lower() not in SPLITS
    }
    notes = (f"each of the {len(labels)} folders is a class",) if labels else ()
    return Sample(
        format,
        records,
        len(files),
        len(chosen) == len(files) and not tally.bad,
        modality,
        assumptions=notes,
        warnings=warnings,
        classes=len(labels) or None,
    )


def _metadata(files: Sequence[Path], root: Path) -> dict[Path, dict[str, Any]]:
    """Rows of metadata.jsonl or metadata.csv by the file they describe (column ``file_name``)."""
    found: dict[Path, dict[str, Any]] = {}
    for folder in {root, *(f.parent for f in files)}:
        for name in METADATA:
            if (folder / name).is_file():
                for row in _rows(folder / name):
                    file = row.pop("file_name", None) or row.pop("file", None)
                    if isinstance(file, str):
                        found[folder / file] = row
    return found


def _rows(file: Path) -> list[dict[str, Any]]:
    try:
        text = file.read_text("utf-8-sig")
        if file.suffix == ".csv":
            return list(csv.DictReader(text.splitlines()))
        return [
            row
            for row in map(json.loads, filter(str.strip, text.splitlines()))
            if isinstance(row, dict)
        ]
    except (ValueError, csv.Error) as error:
        raise DataError(
            f"the table of descriptions cannot be read: {error}", where=str(file)
        ) from error
