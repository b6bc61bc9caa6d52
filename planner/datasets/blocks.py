"""Reading files of lines: whole where small, otherwise blocks spread over all files, so that 50 GB
answer in seconds.

A record belongs to the block in which it starts. So every record has the same chance to be read,
whatever its length.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from planner.datasets.compressed import BROKEN_COMPRESSION, COMPRESSED, open_binary
from planner.datasets.readers import Budget
from planner.errors import DataError

SEED = 20240229  # any fixed number: the same file gives the same sample
BAD_SHARE = 0.01  # the share of unreadable records that is skipped with a warning
SNIFF_BYTES = 8192
TAIL_BYTES = 2**16
RATIO_BYTES = 2**20
#: What comes out of RATIO_BYTES of text is some megabytes; a file of one letter expands without
#: end.
MOST_AHEAD = 64 * 2**20
#: Lines of a compressed file that are read from its start: one of short lines has no more to show.
MOST_LINES = 2_000_000
_BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive lines of one file, line ends kept. ``span_bytes`` is the part of all files that
    it stands for.

    ``first_line`` is the number of the first line where the file was read from its start, else
    None. ``tail``: some lines after those, for a record of several lines that starts in the chunk
    and ends behind it.
    """

    file: Path
    lines: list[bytes]
    offset: int
    span_bytes: int
    first_line: int | None = None
    tail: tuple[bytes, ...] = ()

    def place(self, index: int) -> str:
        """``data.jsonl:17`` or ``data.jsonl, byte 123456``: where line ``index`` of the chunk
        is."""
        if self.first_line is not None:
            return f"{self.file}:{self.first_line + index}"
        return f"{self.file}, byte {self.offset + sum(map(len, self.lines[:index]))}"


@dataclass(frozen=True, slots=True)
class Chunks:
    """All that was read. ``span_bytes`` of the chunks over ``total_bytes`` is the share of the data
    that was read."""

    chunks: tuple[Chunk, ...]
    total_bytes: int
    whole: bool
    warnings: tuple[str, ...] = ()


@dataclass
class Tally:
    """Counts records that cannot be read; a small share is skipped and said, a larger one is an
    error at the first place."""

    bad: int = 0
    place: str = ""
    reason: str = ""
    good: int = field(default=0)

    def skip(self, place: str, reason: str) -> None:
        self.bad += 1
        if self.bad == 1:
            self.place, self.reason = place, reason

    def warnings(self, mend: str) -> tuple[str, ...]:
        """The warning of what was skipped. Raises DataError when it is more than a small share."""
        if not self.bad:
            return ()
        if self.bad > BAD_SHARE * (self.bad + self.good):
            raise DataError(
                f"{self.reason} ({self.bad} of the {self.bad + self.good} records read are "
                "like this)",
                where=self.place,
                mend=mend,
            )
        return (
            f"skipped {self.bad} of {self.bad + self.good} records that cannot be read, the "
            f"first at {self.place}: {self.reason}",
        )


def read_chunks(files: Sequence[Path], budget: Budget) -> Chunks:
    """Lines of the files, whole or in blocks. Raises DataError for binary, empty or wrongly encoded
    files."""
    first, files = files[0], [f for f in files if f.stat().st_size > 0]
    if not files:
        raise DataError("the file is empty: there is nothing to count", where=str(first))
    for file in files[:: max(1, len(files) // 8)]:
        sniff(file)
    if any(f.suffix.lower() in COMPRESSED for f in files):
        return _compressed(files, budget)
    sizes = [f.stat().st_size for f in files]
    total = sum(sizes)
    if total <= budget.whole_bytes:
        return Chunks(tuple(_whole(f, budget) for f in files), total, True)
    return Chunks(tuple(_sampled(files, sizes, budget)), total, False)


def sniff(file: Path) -> None:
    """Raises DataError when the file's beginning is no UTF-8 text."""
    with open_binary(file) as handle:
        try:
            head = handle.read(SNIFF_BYTES)
        except BROKEN_COMPRESSION as error:
            raise DataError(
                f"the compressed file is damaged: {error}",
                where=str(file),
                mend="Fetch or write it again",
            ) from error
        except OSError as error:
            raise DataError(
                f"cannot be decompressed: {error}",
                where=str(file),
                mend="Check its suffix, or write it again",
            ) from error
    if head[:2] in _BOMS:
        raise DataError(
            "the text is UTF-16, not UTF-8",
            where=str(file),
            mend="Convert it: iconv -f utf-16 -t utf-8",
        )
    if b"\0" in head:
        raise DataError(
            "this is binary data, not text",
            where=str(file),
            mend="Give the file the suffix of its real format",
        )
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # else a character is cut by the end of what was read
            raise DataError(
                f"byte {head[error.start]:#x} at {error.start} is not UTF-8",
                where=str(file),
                mend="Convert it, for example: iconv -f latin1 -t utf-8",
            ) from error


def extrapolate(counts: Sequence[int], chunks: Chunks) -> tuple[int, float]:
    """(records in all, relative error) from the records of each chunk: a ratio estimate, its error
    from between the chunks."""
    records, spans = (
        np.asarray(counts, dtype=float),
        np.array([c.span_bytes for c in chunks.chunks], dtype=float),
    )
    if chunks.whole:
        return int(records.sum()), 0.0
    if records.sum() == 0:
        raise DataError(
            "no record was found in the parts that were read", where=str(chunks.chunks[0].file)
        )
    rate = records.sum() / spans.sum()
    samples = max(int(records.sum()), round(rate * chunks.total_bytes))
    if len(records) < 2:
        return samples, 1.0 / math.sqrt(records.sum())
    error = math.sqrt(np.var(records - rate * spans, ddof=1) / len(records)) / records.mean()
    return samples, float(error * math.sqrt(max(0.0, 1 - spans.sum() / chunks.total_bytes)))


def _whole(file: Path, budget: Budget) -> Chunk:
    data = file.read_bytes()
    lines = (
        data.removeprefix(b"\xef\xbb\xbf").splitlines(keepends=True)
        if b"\r" not in data
        else _split(data)
    )
    return Chunk(file, lines, 0, len(data), 1)


def _split(data: bytes) -> list[bytes]:
    """Lines that end in LF or CRLF (``bytes.splitlines`` also cuts at a lone CR, which may stand
    inside a record)."""
    return [line + b"\n" for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line]


def _sampled(files: Sequence[Path], sizes: Sequence[int], budget: Budget) -> Iterator[Chunk]:
    """One block at a random place of each equal part of the files laid end to end."""
    ends = np.cumsum(sizes)
    part, length = int(ends[-1]) / budget.blocks, budget.sample_bytes // budget.blocks
    jitter = np.random.default_rng(SEED).random(budget.blocks)
    for index in range(budget.blocks):
        place = int((index + jitter[index]) * part) if part > length else int(index * part)
        which = int(np.searchsorted(ends, place, side="right"))
        offset = place - int(ends[which] - sizes[which])
        span = min(length, sizes[which] - offset)
        yield _block(files[which], offset, span, budget)
        budget.report((index + 1) / budget.blocks)


def _block(file: Path, offset: int, span: int, budget: Budget) -> Chunk:
    """The lines that start in [offset, offset + span)."""
    lines, limit = [], budget.longest_record_bytes
    with file.open("rb") as handle:
        handle.seek(max(0, offset - 1))
        if offset:
            # ends the line that started before the block; nothing is lost when one starts at offset
            _line(handle, file, limit)
        start = handle.tell()
        while handle.tell() < offset + span and (line := _line(handle, file, limit)):
            lines.append(line)
        tail = tuple(handle.readlines(TAIL_BYTES)) if lines else ()
    if offset == 0 and lines:
        lines[0] = lines[0].removeprefix(b"\xef\xbb\xbf")
    return Chunk(file, lines, start, span, 1 if offset == 0 else None, tail)


def _line(handle: BinaryIO, file: Path, limit: int) -> bytes:
    line = handle.readline(limit)
    if len(line) == limit and not line.endswith(b"\n"):
        raise DataError(
            f"a line is longer than {limit // 2**20} MiB",
            where=f"{file}, byte {handle.tell() - limit}",
            mend="Check that each record stands on a line of its own",
        )
    return line


def _compressed(files: Sequence[Path], budget: Budget) -> Chunks:
    """Compressed files cannot be entered in the middle: each is read from its start, up to an equal
    share of the budget."""
    sizes = [f.stat().st_size for f in files]
    chosen = range(0, len(files), max(1, math.ceil(len(files) / budget.blocks)))
    share = (budget.whole_bytes if len(files) == 1 else budget.sample_bytes) // max(1, len(chosen))
    parts = [_compressed_file(files[i], share, budget) for i in chosen]
    whole = len(parts) == len(files) and all(done for _, done in parts)
    cut = sum(not done for _, done in parts)
    warning = (
        f"{cut} compressed file{'s were' if cut > 1 else ' was'} read from the start only: if "
        "later records differ, so do the counts",
    )
    return Chunks(tuple(chunk for chunk, _ in parts), sum(sizes), whole, warning if cut else ())


def _compressed_file(file: Path, share: int, budget: Budget) -> tuple[Chunk, bool]:
    size, read, blank, lines = file.stat().st_size, 0, 0, []
    with file.open("rb") as raw:
        stream = COMPRESSED.get(file.suffix.lower(), lambda handle, mode: handle)(raw, "rb")
        try:
            line = b"\n"
            while read < share and len(lines) + blank < MOST_LINES and line:
                line = _line(stream, file, budget.longest_record_bytes)
                read += len(line)
                if line.strip():
                    lines += [b"\n"] * blank + [line]
                    blank = 0
                elif line:
                    blank += 1  # counts only where a line follows, for the places of errors
            done = not line
            span = size if done else max(1, round(_compressed_bytes(stream, raw, size, read)))
        except BROKEN_COMPRESSION as error:
            raise DataError(
                f"the compressed file is damaged after {len(lines)} lines: {error}",
                where=str(file),
                mend="Fetch or write it again",
            ) from error
    return Chunk(file, lines, 0, span, 1), done


def _compressed_bytes(stream: BinaryIO, raw: BinaryIO, size: int, read: int) -> float:
    """Compressed bytes behind the first ``read`` bytes that came out. Decompressors read ahead some
    kB, so that the ratio is taken over at least RATIO_BYTES of the file, or all of it."""
    ahead = 0
    while raw.tell() < RATIO_BYTES and ahead < MOST_AHEAD and (data := stream.read(2**16)):
        ahead += len(data)
    return min(size, raw.tell()) * read / (read + ahead)
