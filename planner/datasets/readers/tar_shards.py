"""WebDataset shards: tar files whose members are grouped into samples by the name up to its first
dot."""

from __future__ import annotations

import math
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Self, cast

import numpy as np

from planner.datasets import media
from planner.datasets.blocks import Tally
from planner.datasets.readers import AUDIO, IMAGE, Budget, Reader, Sample
from planner.errors import DataError
from planner.files import loads

TEXT_SUFFIXES, LABEL_SUFFIXES = (".txt", ".text", ".caption"), (".cls", ".label")
TEXT_BYTES = 2**24  # no caption or document inside of a shard is read beyond this
#: Headers before a member that hold its long name or its attributes, and the most bytes of one.
EXTENDED = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
HEADER_BYTES = 2**20
SHARDS = 8  # at most so many shards are opened where they are too large to read all


def read(files: Sequence[Path], root: Path, budget: Budget) -> Sample:
    """Raises DataError for a damaged tar or one without images, text or sound."""
    total = sum(f.stat().st_size for f in files)
    whole_shards = total <= budget.whole_bytes
    chosen = (
        files
        if whole_shards
        else [
            files[i]
            for i in np.unique(np.linspace(0, len(files) - 1, min(SHARDS, len(files))).astype(int))
        ]
    )
    records, blocks, spans, counts, tally = [], [], [], [], Tally()
    for number, file in enumerate(chosen):
        limit = math.inf if whole_shards else budget.whole_bytes
        before, span = len(records), file.stat().st_size
        for record, span in _samples(file, limit, tally):  # noqa: B007 (the last one is used)
            records.append(record)
        counts.append(len(records) - before)
        spans.append(span)
        blocks += [number] * counts[-1]
        budget.report((number + 1) / len(chosen))
    tally.good = len(records)
    warnings = tally.warnings("Write the shard again")
    if not records:
        raise DataError(
            "no images, text or sound inside",
            where=str(files[0]),
            mend="Members should be named key.jpg, key.txt, key.json, key.cls, key.wav",
        )
    whole = whole_shards or (len(chosen) == len(files) and sum(spans) >= total)
    samples = len(records) if whole else round(len(records) * total / sum(spans))
    error = 0.0 if whole else 1 / math.sqrt(len(records))
    return Sample(
        "webdataset",
        records,
        samples,
        whole,
        _modality(records),
        error,
        np.array(blocks, dtype=np.int64),
        warnings=warnings,
    )


def _modality(records: Sequence[dict[str, Any]]) -> str:
    if any(AUDIO in r for r in records):
        return "audio"
    return "image" if any(IMAGE in r for r in records) else "text"


def _samples(file: Path, limit: float, tally: Tally) -> Iterator[tuple[dict[str, Any], int]]:
    """(record, bytes of the shard up to its end) until ``limit`` bytes. Members are sought past,
    not read, where not needed."""
    key, record, end = None, {}, 0
    try:
        with _Shard.open(file) as shard:
            for member in shard:
                if not member.isfile() or Path(member.name).name.startswith("."):
                    continue
                head, _, suffix = Path(member.name).name.partition(".")
                name = str(Path(member.name).parent / head)
                if name != key and record:
                    yield record, end
                    record = {}
                    if end >= limit:
                        return
                key, end = name, member.offset_data + member.size
                record |= _member(shard, member, "." + suffix.lower(), file, tally)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(
            f"the tar cannot be read: {error}", where=str(file), mend="Fetch or write it again"
        ) from error
    if record:
        yield record, file.stat().st_size


def _member(
    shard: tarfile.TarFile, member: tarfile.TarInfo, suffix: str, file: Path, tally: Tally
) -> dict[str, Any]:
    handle = cast("BinaryIO", shard.extractfile(member))  # a file's is never None
    last = Path(suffix).suffix or suffix
    try:
        if last in TEXT_SUFFIXES:
            return {"text": handle.read(TEXT_BYTES).decode("utf-8")}
        if last in LABEL_SUFFIXES:
            return {"label": handle.read(1024).decode("utf-8").strip()}
        if last == ".json":
            value = loads(handle.read(TEXT_BYTES))
            return value if isinstance(value, dict) else {}
        return media.measured(f"x{last}", handle) or {}
    except (ValueError, media.BrokenMediumError) as error:
        tally.skip(f"{file}, {member.name}", str(error))
        return {}


class _Header(tarfile.TarInfo):
    """A member's header. tarfile reads extended ones whole, whatever size they say."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        made = super().frombuf(buf, encoding, errors)
        if made.type in EXTENDED and made.size > HEADER_BYTES:
            raise tarfile.ReadError(f"a name or attributes of {made.size:,} bytes")
        return made


class _Shard(tarfile.TarFile):
    tarinfo = _Header


READER = Reader("webdataset", (".tar", ".tar.gz", ".tgz"), read, hint="WebDataset shards")
