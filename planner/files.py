"""Files written whole or not at all; a write that fails is one line."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from planner.errors import MachineError, QuestionError


def write(path: Path, made: str | bytes) -> None:
    """As ``write_bytes``; a text in UTF-8."""
    write_bytes(path, made.encode("utf-8", "replace") if isinstance(made, str) else made)


def write_bytes(path: Path, data: bytes) -> None:
    """Write through a temporary file in the same folder and one rename. Raises QuestionError where
    the folder is not there, MachineError where the machine refuses (permission, full disk)."""
    with replaced(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def replaced(path: Path) -> Generator[Path, None, None]:
    """A temporary file in the same folder, which whoever asks writes; it takes the place of
    ``path`` by one rename at the end, and is gone where writing fails. Raises as
    ``write_bytes``."""
    check_place(path)
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        temporary = Path(name)
        os.close(handle)
        yield temporary
        os.chmod(temporary, 0o666 & ~umask())
        os.replace(temporary, path)
    except OSError as error:
        raise MachineError(f"cannot be written: {error.strerror}", where=str(path)) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def check_place(path: Path) -> None:
    """Raises QuestionError where no file of this name can be made, before the work for it is
    done."""
    if path.is_dir():
        raise QuestionError("is a folder, not a file", where=str(path))
    if not path.parent.is_dir():
        raise QuestionError(
            "no such folder", where=str(path.parent), mend="Create it or choose another"
        )


def umask() -> int:
    """The process's mask can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
