"""What a picture or a sound is, from its header alone. Pillow and soundfile are imported only when
a medium is met."""

from __future__ import annotations

import io
import os
import warnings
import wave
from pathlib import Path
from typing import Any, BinaryIO

from planner.blame import raised_by_planner
from planner.datasets.readers import AUDIO, IMAGE
from planner.errors import MissingExtraError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus")


#: Bytes that a program writes into a WAV's header when it does not know them yet: what was streamed
#: says nothing about its length.
STREAMED = 0x7FFFF000
#: A week: no sample of a dataset is longer.
LONGEST_SECONDS = 7 * 86_400.0


class BrokenMediumError(Exception):
    """The header cannot be read; the reader counts it and decides."""


def image_size(handle: BinaryIO | Path) -> tuple[int, int]:
    """(width, height) in pixels. Raises BrokenMediumError, MissingExtraError."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError("pillow", "data", "Reading the sizes of images") from error
    try:
        with warnings.catch_warnings():
            # only the header is read: a picture as large as a bomb costs nothing here
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(handle) as image:
                return image.size
    except Exception as error:  # Pillow's plugins raise nearly anything for a broken file
        if raised_by_planner(error):
            raise
        raise BrokenMediumError(f"not a readable image: {error}") from error


def audio_seconds(handle: BinaryIO | Path, suffix: str) -> float:
    """Seconds. Raises BrokenMediumError, and MissingExtraError for a compressed format without
    soundfile."""
    if suffix == ".wav":
        try:
            with wave.open(str(handle) if isinstance(handle, Path) else handle, "rb") as sound:
                frame = sound.getnchannels() * sound.getsampwidth()
                held = _size_of(handle) // frame
                if sound.getnframes() > held and sound.getnframes() * frame < STREAMED:
                    raise BrokenMediumError(
                        f"its header says {sound.getnframes():,} frames, and the file holds "
                        f"{held:,} at most"
                    )
                return _plausible(min(sound.getnframes(), held) / sound.getframerate())
        except (wave.Error, EOFError, ZeroDivisionError):
            pass  # not plain PCM: soundfile knows more kinds of WAV
        if not isinstance(handle, Path):
            handle.seek(0)
    try:
        import soundfile
    except ImportError as error:
        raise MissingExtraError(
            "soundfile", "data", f"Reading the length of {suffix} files"
        ) from error
    try:
        info = soundfile.info(str(handle) if isinstance(handle, Path) else handle)
        return _plausible(info.frames / info.samplerate)
    except BrokenMediumError:
        raise
    except Exception as error:  # soundfile raises its own and the codec's errors
        if raised_by_planner(error):
            raise
        raise BrokenMediumError(f"not a readable sound: {error}") from error


def _plausible(seconds: float) -> float:
    """The length that a header says. Raises BrokenMediumError for one that no recording has."""
    if not 0 <= seconds <= LONGEST_SECONDS:
        raise BrokenMediumError(f"its header says {seconds:,.0f} seconds")
    return seconds


def _size_of(handle: BinaryIO | Path) -> int:
    """Bytes of a file or a stream, whose place stays."""
    if isinstance(handle, Path):
        return handle.stat().st_size
    place = handle.tell()
    size = handle.seek(0, os.SEEK_END)
    handle.seek(place)
    return size


def measured(name: str, handle: BinaryIO | Path) -> dict[str, Any] | None:
    """The entry of a record for a medium of this file name; None when the name is of no medium."""
    suffix = Path(name).suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return {IMAGE: image_size(handle)}
    if suffix in AUDIO_SUFFIXES:
        return {AUDIO: audio_seconds(handle, suffix)}
    return None


def modality_of(suffix: str) -> str | None:
    """``image`` or ``audio`` by a file name's suffix, in small letters; None when it is of no
    medium."""
    return "image" if suffix in IMAGE_SUFFIXES else "audio" if suffix in AUDIO_SUFFIXES else None


def suffix_of(head: bytes) -> str | None:
    """A file name's suffix from the first bytes, for media stored without a name; None when
    unknown."""
    if head[:4] == b"RIFF":
        return ".wav" if head[8:12] == b"WAVE" else ".webp"
    for magic, suffix in (
        (b"fLaC", ".flac"),
        (b"OggS", ".ogg"),
        (b"ID3", ".mp3"),
        (b"\xff\xfb", ".mp3"),
        (b"\xff\xf3", ".mp3"),
        (b"\xff\xd8", ".jpg"),
        (b"\x89PNG", ".png"),
        (b"GIF8", ".gif"),
        (b"BM", ".bmp"),
        (b"II*\0", ".tif"),
        (b"MM\0*", ".tif"),
    ):
        if head.startswith(magic):
            return suffix
    return None


def replace_embedded(record: dict[str, Any]) -> dict[str, Any]:
    """A record of a table whose cells may hold a medium ({bytes, path} or bytes): those become what
    was measured.

    Raises BrokenMediumError.
    """
    out: dict[str, Any] = {}
    for name, value in record.items():
        data = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(data, bytes):
            out[name] = value
            continue
        suffix = suffix_of(data[:16])
        out |= (measured(f"cell{suffix}", io.BytesIO(data)) if suffix else None) or {name: None}
    return out
