"""What image folders and audio folders share: class folders, a metadata table, headers of a part of
the files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from planner.datasets.blocks import Tally
from planner.datasets.descriptions import beside, described
from planner.datasets.media import BrokenMediumError
from planner.datasets.readers import Budget, Sample

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
    """A record a file, or a caption of it: the measured header, the class folder as its label, and
    what is written about it.

    Raises DataError when more than a small share of the headers cannot be read.
    """
    rows, records, tally = described(files, root), [], Tally()
    named = [file for file in files if file in rows] or files
    left = len(files) - len(named)
    files = named
    chosen = np.unique(
        np.linspace(0, len(files) - 1, min(len(files), budget.media_files)).astype(int)
    )
    for done, index in enumerate(chosen):
        file = files[index]
        try:
            entry = measure(file)
            records += [row | entry for row in rows.get(file) or [beside(file)]]
        except BrokenMediumError as error:
            tally.skip(str(file), str(error))
        budget.report((done + 1) / len(chosen))
    read = len(chosen) - tally.bad
    tally.good = read
    warnings = tally.warnings("Remove or replace the broken files")
    labels = {
        file.parent.name
        for file in files
        if file.parent != root and file.parent.name.lower() not in SPLITS
    }
    # a picture with several captions is a sample with each
    samples = round(len(files) * len(records) / read) if read else 0
    labels = set() if len(labels) == 1 or any("text" in row for row in records[:1]) else labels
    notes = (f"each of the {len(labels)} folders is a class",) if labels else ()
    said = (f"{left} files that the table does not name are left out",) if left else ()
    return Sample(
        format,
        records,
        samples,
        len(chosen) == len(files) and not tally.bad,
        modality,
        assumptions=notes,
        warnings=warnings,
        classes=len(labels) or None,
        said=said,
    )
