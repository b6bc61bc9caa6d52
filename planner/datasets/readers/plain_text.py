"""Plain text: a record a line, a record a block of lines between blank lines, or a record a file
where there are many."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from planner.datasets.blocks import Chunk, Tally, extrapolate, read_chunks
from planner.datasets.compressed import BROKEN_COMPRESSION, open_binary
from planner.datasets.readers import Budget, Reader, Sample, tagged_text
from planner.errors import DataError

FILES_AS_RECORDS = 10  # from so many text files on, each is one record
HEAD_BYTES = 2**15  # of a file, by which it is known what it holds
BLANK_SHARE = 0.05  # so many blank lines between lines make paragraphs
MEND = "Convert the text to UTF-8"


def read(files: Sequence[Path], root: Path, budget: Budget) -> Sample:
    """Raises DataError when it is no UTF-8 text."""
    if len(files) >= FILES_AS_RECORDS:
        return _a_record_a_file(files, root, budget)
    if any(tagged_text.is_tagged(_head(file)) for file in files[:1] if file.stat().st_size):
        return tagged_text.read(files, root, budget)
    chunks, tally = read_chunks(files, budget), Tally()
    texts = [_decode(chunk, tally) for chunk in chunks.chunks]
    tally.good = sum(text.count("\n") + 1 for text in texts)
    warnings = tally.warnings(MEND) + chunks.warnings
    paragraphs = _has_paragraphs("\n".join(texts))
    parts = [
        _paragraphs(text, chunk) if paragraphs else text.split("\n")
        for text, chunk in zip(texts, chunks.chunks)
    ]
    parts = [[record for record in part if record.strip()] for part in parts]
    records = [_record(record) for part in parts for record in part]
    if not records:
        raise DataError("the text is blank: there is nothing to count", where=str(files[0]))
    samples, error = extrapolate([len(part) for part in parts], chunks)
    notes = (
        "a record is a block of text between blank lines"
        if paragraphs
        else "a record is a line of text that is not blank"
    )
    blocks = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return Sample(
        "text",
        records,
        samples,
        chunks.whole,
        samples_relative_error=error,
        blocks=blocks,
        assumptions=(notes,),
        warnings=warnings,
    )


def _head(file: Path) -> str:
    """The beginning of a file in whole lines; "" where it cannot be read, which is said later."""
    try:
        with open_binary(file) as handle:
            return handle.read(HEAD_BYTES).decode("utf-8", errors="replace").rpartition("\n")[0]
    except (OSError, *BROKEN_COMPRESSION):
        return ""


def _decode(chunk: Chunk, tally: Tally) -> str:
    lines = []
    for index, line in enumerate(chunk.lines):
        try:
            lines.append(line.decode("utf-8").rstrip("\r\n"))
        except UnicodeDecodeError as error:
            tally.skip(chunk.place(index), f"not UTF-8: {error.reason}")
    return "\n".join(lines)


def _record(text: str) -> dict[str, str | list[str]]:
    """A text; fastText's labels before it are its labels."""
    labels = FASTTEXT.findall(text) if text.startswith("__label__") else []
    if not labels:
        return {"text": text}
    return {"text": FASTTEXT.sub("", text).strip(), "labels": labels}


FASTTEXT = re.compile(r"__label__(\S+)\s*")


def _has_paragraphs(text: str) -> bool:
    """Blank lines are common, and what they separate spans several lines."""
    lines = text.strip().split("\n")
    blank = sum(not line.strip() for line in lines)
    blocks = [block for block in re.split(r"\n\s*\n", text.strip()) if block.strip()]
    several = sum("\n" in block.strip() for block in blocks)
    return blank >= BLANK_SHARE * len(lines) and len(blocks) > 1 and several >= 0.3 * len(blocks)


def _paragraphs(text: str, chunk: Chunk) -> list[str]:
    """Text between blank lines. Of a chunk from the middle of a file the first, whose start was not
    seen, is left out, and the last is ended from the lines behind the chunk."""
    tail = b"".join(chunk.tail).decode("utf-8", errors="replace")
    if chunk.tail and not text.endswith("\n\n"):
        text += "\n" + re.split(r"\n\s*\n", tail, maxsplit=1)[0]
    blocks = re.split(r"\n\s*\n", text)
    return blocks if chunk.first_line is not None else blocks[1:]


def _a_record_a_file(files: Sequence[Path], root: Path, budget: Budget) -> Sample:
    sizes = np.array([f.stat().st_size for f in files])
    files = [f for f, size in zip(files, sizes) if size]
    if not files:
        raise DataError("all text files are empty", where=str(root))
    whole = sizes.sum() <= budget.whole_bytes
    count = (
        len(files)
        if whole
        else max(FILES_AS_RECORDS, min(len(files), int(budget.sample_bytes / sizes.mean())))
    )
    chosen = np.unique(np.linspace(0, len(files) - 1, count).astype(int))
    records, tally = [], Tally()
    for index in chosen:
        file = files[index]
        label = _label(file, root)
        try:
            with open_binary(file) as handle:
                text = handle.read(budget.longest_record_bytes).decode("utf-8")
        except UnicodeDecodeError as error:
            tally.skip(str(file), f"not UTF-8 text: {error.reason}")
            continue
        records.append({"text": text, **({"label": label} if label else {})})
    tally.good = len(records)
    return Sample(
        "text",
        records,
        len(files) - tally.bad,
        whole and not tally.bad,
        assumptions=("a record is a file of text",),
        warnings=tally.warnings(MEND),
    )


def _label(file: Path, root: Path) -> str:
    return file.parent.name if file.parent != root else ""


READER = Reader(
    "text",
    (
        ".txt",
        ".md",
        ".text",
        ".rst",
        ".raw",
        ".tokens",
        ".txt.gz",
        ".txt.bz2",
        ".txt.xz",
        ".txt.zst",
    ),
    read,
    hint="plain text",
)
