"""A path becomes the files of one format, and what had to be decided on the way."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from planner.datasets.readers import Reader, reader_for, registry, supported
from planner.errors import DataError, nearest

#: Files that lie beside data and are none.
BESIDE = re.compile(
    r"(readme|license|licence|notice|changelog|citation|dataset_infos?|state|metadata|checksums?|"
    r"requirements)\b.*",
    re.IGNORECASE,
)
TRAIN = re.compile(r"(^|[/_.\-])train(ing)?([/_.\-]|$)", re.IGNORECASE)
OTHER_SPLIT = re.compile(
    r"(^|[/_.\-])(test|valid|validation|val|dev|eval)([/_.\-]|$)", re.IGNORECASE
)


def locate(path: Path) -> tuple[Reader, list[Path], tuple[str, ...]]:
    """(reader, files, what to say). Raises DataError for a path that is not there, is empty, or has
    no known format."""
    if path.is_dir():
        return _folder(path)
    if not path.exists():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        near = nearest(path.name, siblings)
        raise DataError(
            "there is no such file or folder",
            where=str(path),
            mend=f"Did you mean {' or '.join(near)}?" if near else "Check the path",
        )
    reader = reader_for(path)
    if reader is None:
        raise DataError(
            f"no reader for {path.suffix or 'a file without a suffix'}",
            where=str(path),
            mend=f"Supported: {supported()}",
        )
    if path.stat().st_size == 0:
        raise DataError("the file is empty: there is nothing to count", where=str(path))
    return reader, [path], ()


def _folder(folder: Path) -> tuple[Reader, list[Path], tuple[str, ...]]:
    for reader in registry():
        claimed = reader.claims(folder) if reader.claims else None
        if claimed is not None:
            return reader, *claimed
    groups: dict[str, tuple[Reader, list[Path]]] = {}
    count = 0
    for file in _walk(folder):
        count += 1
        reader = reader_for(file)
        if reader is not None and not BESIDE.fullmatch(file.name):
            groups.setdefault(reader.format, (reader, []))[1].append(file)
    if not groups:
        problem = (
            f"none of its {count} files has a format with a reader"
            if count
            else "the folder is empty: there is nothing to count"
        )
        raise DataError(problem, where=str(folder), mend=f"Supported: {supported()}")
    sizes = {name: sum(f.stat().st_size for f in files) for name, (_, files) in groups.items()}
    best = max(sizes, key=sizes.__getitem__)
    left = [f"{len(groups[name][1])} {name}" for name in sizes if name != best]
    notes = (
        (
            f"the folder holds several formats; {best} files are counted, left out: "
            f"{', '.join(left)}",
        )
        if left
        else ()
    )
    reader, files = groups[best]
    files, split = _train_files(sorted(files), folder)
    return reader, files, notes + split


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__")))
        yield from (Path(parent) / name for name in names if not name.startswith("."))


def _train_files(files: Sequence[Path], root: Path) -> tuple[list[Path], tuple[str, ...]]:
    """Only the training split, where the names of files or folders tell splits apart."""
    train = [f for f in files if TRAIN.search(str(f.relative_to(root)))]
    other = [
        f for f in files if OTHER_SPLIT.search(str(f.relative_to(root))) and f not in set(train)
    ]
    if not train or not other:
        return list(files), ()
    return train, (
        f"{len(train)} files of the training split are counted; left out: "
        f"{len(files) - len(train)} of other splits",
    )
