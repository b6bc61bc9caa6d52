"""A folder of files, written whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from planner.errors import FieldName, MachineError, QuestionError
from planner.files import umask, write


def check_folder(folder: Path, *, force: bool) -> None:
    """Raises QuestionError where it cannot be written to, before the work for it is done."""
    if folder.exists() and not folder.is_dir():
        raise QuestionError("is a file, not a folder", where=str(folder))
    if not folder.resolve().parent.is_dir():
        raise QuestionError(
            "no such folder", where=str(folder.parent), mend="Create it or choose another"
        )
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise QuestionError(
            "is not empty",
            where=str(folder),
            mend=f"{FieldName('force')} overwrites a recipe's files in it",
        )


def write_folder(folder: Path, files: Mapping[str, str], *, force: bool = False) -> None:
    """A new folder appears with all of its files; of one that is there each file is replaced whole,
    others stay. Raises QuestionError and MachineError."""
    check_folder(folder, force=force)
    if folder.is_dir() and any(folder.iterdir()):
        _write_all(folder, files)
        return
    made = None
    try:
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.resolve().parent))
        _write_all(made, files)
        os.chmod(made, 0o777 & ~umask())
        os.replace(made, folder)
    except OSError as error:
        raise MachineError(f"cannot be written: {error.strerror}", where=str(folder)) from error
    finally:
        if made is not None and made.exists():
            shutil.rmtree(made, ignore_errors=True)


def _write_all(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        write(folder / name, text)
