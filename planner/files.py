"""Files written whole or not at all, and read whole only where they are files of a sane size; JSON
from strangers, nested no deeper than what reads it stands."""

from __future__ import annotations

import errno
import io
import json
import os
import stat
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from planner.errors import MachineError, QuestionError

#: The largest file that is read whole: settings, tables beside data, profiles.
MOST_BYTES = 64 * 2**20
#: No record, config or settings file nests deeper; what walks a value calls itself for each level.
DEEPEST = 100
TOO_DEEP = f"nested too deeply, past {DEEPEST} levels"


class UnfitFileError(OSError):
    """A file that is not read whole: no regular one, or too large. Whoever catches what the
    system raises for a file catches it too."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.strerror = reason


def open_regular(path: Path) -> BinaryIO:
    """A file to be read. A pipe without a writer, which would be waited for, and a device without
    an end are not opened. Raises UnfitFileError for those, OSError as the system does."""
    nonblocking = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    handle = open(os.open(path, os.O_RDONLY | nonblocking), "rb")
    mode = os.fstat(handle.fileno()).st_mode
    if stat.S_ISREG(mode):
        return handle
    handle.close()
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder", str(path))
    raise UnfitFileError("no regular file")


def open_lines(path: Path, *, encoding: str = "utf-8") -> TextIO:
    """As ``open_regular``, of text whose line ends stay what they are."""
    return io.TextIOWrapper(open_regular(path), encoding=encoding, newline="")


def read_bytes(path: Path, most_bytes: int = MOST_BYTES) -> bytes:
    """A whole file. Raises UnfitFileError for one that is not regular or has more than
    ``most_bytes``, OSError as the system does."""
    with open_regular(path) as handle:
        if os.fstat(handle.fileno()).st_size > most_bytes:
            raise UnfitFileError(f"larger than {most_bytes // 2**20} MiB")
        data = handle.read(most_bytes + 1)
    if len(data) > most_bytes:  # it has grown, or says no size
        raise UnfitFileError(f"larger than {most_bytes // 2**20} MiB")
    return data


def read_text(
    path: Path,
    most_bytes: int = MOST_BYTES,
    *,
    encoding: str = "utf-8",
    errors: str = "strict",
) -> str:
    """As ``read_bytes``, decoded; line ends become one sign as Python's own reading makes them."""
    text = read_bytes(path, most_bytes).decode(encoding, errors)
    return text.replace("\r\n", "\n").replace("\r", "\n")


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


def loads(text: str | bytes) -> Any:
    """As ``json.loads``. Raises ValueError for what is no JSON, and where objects and lists lie
    more than ``DEEPEST`` within each other."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    return checked(value, text)


def checked(value: Any, text: str | bytes) -> Any:
    """The value, which was made of ``text``. Raises ValueError as ``loads``."""
    brackets = (b"[", b"{") if isinstance(text, bytes) else ("[", "{")
    opened = sum(text.count(bracket) for bracket in brackets)  # type: ignore[arg-type]
    if opened > DEEPEST and _is_deeper(value, DEEPEST):
        raise ValueError(TOO_DEEP)
    return value


def _is_deeper(value: Any, levels: int) -> bool:
    """Level by level, as calling itself would end where the check is needed."""
    level: list[Any] = [value] if isinstance(value, (dict, list)) else []
    for _ in range(levels):
        level = [
            part
            for outer in level
            for part in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(part, (dict, list))
        ]
        if not level:
            return False
    return True
