"""A path becomes the files of one format, and what had to be decided on the way."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from planner.datasets.descriptions import is_companion
from planner.datasets.readers import Reader, reader_for, registry, supported
from planner.errors import DataError, nearest

#: Formats in which a file is a sample, and what lies beside it describes it.
MEDIA_FOLDERS = ("image_folder", "audio_folder")
#: Files that lie beside data and are none.
BESIDE = re.compile(
    r"(readme|license|licence|notice|changelog|citation|dataset_infos?|state|metadata|checksums?|"
    r"requirements)\b.*",
    re.IGNORECASE,
)
_SET = r"[_\-]?(set|split|data)?\d*"
TRAIN = re.compile(rf"(^|[/_.\-])train(ing)?{_SET}([/_.\-]|$)", re.IGNORECASE)
OTHER_SPLIT = re.compile(
    rf"(^|[/_.\-])(test|valid|validation|val|dev|develop|eval|evaluation|heldout|holdout){_SET}"
    r"([/_.\-]|$)",
    re.IGNORECASE,
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
    if not path.is_file():
        raise DataError("no regular file: a pipe or a device has no end", where=str(path))
    if path.stat().st_size == 0:
        raise DataError("the file is empty: there is nothing to count", where=str(path))
    return reader, [path], ()


def _folder(folder: Path) -> tuple[Reader, list[Path], tuple[str, ...]]:
    for reader in registry():
        claimed = reader.claims(folder) if reader.claims else None
        if claimed is not None:
            return reader, *claimed
    groups: dict[str, tuple[Reader, list[Path]]] = {}
    count, left_out = 0, LeftOut()
    for file in _walk(folder, left_out):
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
        problem = "; ".join([problem, *left_out.notes()])
        raise DataError(problem, where=str(folder), mend=f"Supported: {supported()}")
    _drop_companions(groups)
    sizes = {name: sum(f.stat().st_size for f in files) for name, (_, files) in groups.items()}
    trained = {n: any(_is_train(f, folder) for f in files) for n, (_, files) in groups.items()}
    best = max(sizes, key=lambda name: (trained[name], sizes[name]))
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
    return reader, files, notes + split + left_out.notes()


class LeftOut:
    """What lies in a folder and cannot be read: pipes and devices, which have no end, folders that
    are not opened, links to nothing."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def notes(self) -> tuple[str, ...]:
        if not self.names:
            return ()
        shown = ", ".join(self.names[:3]) + (", …" if len(self.names) > 3 else "")
        return (f"left out, as no readable file or folder: {len(self.names)} ({shown})",)


def _walk(folder: Path, left_out: LeftOut) -> Iterator[Path]:
    """Regular files of a folder and those in it, however deep. Names with a dot before are not
    looked at; links to folders are not followed."""
    waiting = [folder]
    while waiting:
        inside, parent = [], waiting.pop()
        try:
            with os.scandir(parent) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            left_out.names.append(parent.name)
            continue
        for entry in found:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                inside += [] if entry.name.startswith("__") else [Path(entry.path)]
            elif _is_file(entry):
                yield Path(entry.path)
            elif not (entry.is_symlink() and Path(entry.path).is_dir()):
                left_out.names.append(entry.name)
        waiting += reversed(inside)


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether it is a regular file, or a link to one. A link that leads in a circle is none."""
    try:
        return entry.is_file()
    except OSError:
        return False


def _is_train(file: Path, root: Path) -> bool:
    return bool(TRAIN.search(str(file.relative_to(root))))


def _drop_companions(groups: dict[str, tuple[Reader, list[Path]]]) -> None:
    """Texts beside media of the same name, and tables beside a folder of media, describe those."""
    media = [name for name in groups if name in MEDIA_FOLDERS]
    if not media:
        return
    files = [f for name in media for f in groups[name][1]]
    stems, called = {(f.parent, f.stem) for f in files}, {f.name for f in files}
    called |= {f.stem for f in files}
    for name in [name for name in groups if name not in media]:
        reader, files = groups[name]
        kept = [file for file in files if not is_companion(file, stems, called)]
        if kept:
            groups[name] = (reader, kept)
        else:
            del groups[name]


def _train_files(files: Sequence[Path], root: Path) -> tuple[list[Path], tuple[str, ...]]:
    """Only the training split, where the names of files or folders tell splits apart; without one
    what is of no other split."""
    train = [f for f in files if _is_train(f, root)]
    other = [
        f for f in files if OTHER_SPLIT.search(str(f.relative_to(root))) and f not in set(train)
    ]
    if not other or len(other) == len(files):
        split = ("all files are of a test or validation split: they are counted",) if other else ()
        return list(files), split
    if train:
        files_are = "1 file of the training split is" if len(train) == 1 else ""
        files_are = files_are or f"{len(train)} files of the training split are"
        taken, kept = f"{files_are} counted", train
    else:
        kept = [f for f in files if f not in set(other)]
        files_are = "1 file is" if len(kept) == 1 else f"{len(kept)} files are"
        taken = f"{files_are} of no named split and counted as the training split"
    left = ", ".join(sorted({_split_of(f, root) for f in other}))
    return kept, (f"{taken}; left out: {len(files) - len(kept)} of other splits ({left})",)


def _split_of(file: Path, root: Path) -> str:
    found = OTHER_SPLIT.search(str(file.relative_to(root)))
    return found.group(2).lower() if found else "other"
