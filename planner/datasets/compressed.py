"""Compressed files as streams, by their suffix."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

from planner.errors import MissingExtraError

BROKEN_COMPRESSION = (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError)


class _Frames(io.RawIOBase):
    """Bytes out of a Zstandard stream of any library; a damaged one ends in EOFError as those of
    the standard library do."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._read(len(buffer))
        except (OSError, ValueError, RuntimeError) as error:
            raise EOFError(str(error).splitlines()[0]) from error
        except Exception as error:  # zstandard's own error is an Exception
            raise EOFError(str(error)) from error
        buffer[: len(data)] = data
        return len(data)


def open_zstd(source: Any, mode: str = "rb") -> BinaryIO:
    """A stream over a ``.zst`` file or handle, by Python's own library, zstandard or pyarrow.
    Raises MissingExtraError without any."""
    handle = source.open("rb") if isinstance(source, Path) else source
    return cast("BinaryIO", io.BufferedReader(_Frames(_reader(handle)), 2**16))


def _reader(handle: BinaryIO) -> Callable[[int], bytes]:
    try:
        from compression import zstd  # type: ignore[import-not-found]  # from Python 3.14 on

        return zstd.ZstdFile(handle).read
    except ImportError:
        pass
    try:
        import zstandard  # type: ignore[import-not-found]

        return zstandard.ZstdDecompressor().stream_reader(handle, read_across_frames=True).read
    except ImportError:
        pass
    try:
        import pyarrow as pa

        return pa.CompressedInputStream(pa.PythonFile(handle), "zstd").read
    except ImportError as error:
        raise MissingExtraError("pyarrow", "data", "Reading .zst files") from error


COMPRESSED: dict[str, Callable[..., Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": open_zstd,
}


def open_binary(file: Path) -> BinaryIO:
    """The file's bytes, decompressed where its suffix says that they are compressed."""
    opener = COMPRESSED.get(file.suffix.lower())
    return file.open("rb") if opener is None else opener(file, "rb")
