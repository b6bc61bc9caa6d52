"""Token counts by a ``tokenizer.json`` on disk, by the tokenizers library. Nothing is downloaded
and no code of the model runs."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from planner.blame import raised_by_planner
from planner.datasets.tokenizer.apart import Apart
from planner.errors import DataError, MissingExtraError

ENCODE_BYTES = 2**20  # handed to the tokenizer at once
#: The largest of current models have a tenth of this.
MOST_BYTES = 256 * 2**20


class TokenizerFile:
    """Counts in a process of its own, with limits of time and memory."""

    relative_error = 0.0

    def __init__(self, path: str | Path) -> None:
        """``path``: the file or its folder. Raises DataError, MissingExtraError."""
        self._file = _file_of(path)
        self._apart = Apart(self._file)
        self.name = _named(self._file, self._apart.entries)

    def special_tokens(self, pair: bool) -> int:
        """What the tokenizer itself adds to a text or a pair of texts. Raises DataError."""
        return int(self._apart.ask({"special": pair}, "its special tokens"))

    def count(self, texts: Sequence[str]) -> np.ndarray:
        """Tokens of each text without special tokens, int64 [texts]. Raises DataError where the
        tokenizer cannot count them."""
        out = np.zeros(len(texts), dtype=np.int64)
        for start, stop in _pieces(texts):
            batch = [_unicode(text) for text in texts[start:stop]]
            out[start:stop] = self._apart.ask({"count": batch}, "these texts")
        return out


class TokenizerHere:
    """The same in this process and on one core: what a data loader does is timed with it, after
    its texts were counted."""

    def __init__(self, path: str | Path) -> None:
        """As ``TokenizerFile``."""
        self._path = _file_of(path)
        self.name = _named(self._path, self._model.get_vocab_size())

    @cached_property
    def _model(self) -> Any:
        from tokenizers import Tokenizer

        model = _guarded(lambda: Tokenizer.from_file(str(self._path)), self._path)
        model.no_truncation()
        model.no_padding()
        return model

    def special_tokens(self, pair: bool) -> int:
        """What the tokenizer itself adds to a text or a pair of texts."""
        return self._model.num_special_tokens_to_add(pair)

    def encode(self, text: str) -> list[int]:
        """The ids of one text without special tokens. Raises DataError."""
        return _guarded(
            lambda: self._model.encode(_unicode(text), add_special_tokens=False).ids, self._path
        )


def _guarded(run: Any, file: Path) -> Any:
    """What the library raises is no subclass of Exception where its Rust code gives up."""
    try:
        return run()
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:
        if raised_by_planner(error):
            raise
        raise DataError(f"the tokenizer fails: {error}", where=str(file)) from error


def _named(file: Path, entries: int) -> str:
    return f"{file.parent.name}/{file.name}, {entries:,} entries"


def _file_of(path: str | Path) -> Path:
    """Raises DataError for a path without a tokenizer.json of a sane size, MissingExtraError
    without the library."""
    file = Path(path).expanduser()
    file = file / "tokenizer.json" if file.is_dir() else file
    if not file.is_file():
        raise DataError(
            "no tokenizer.json there",
            where=str(file),
            mend="Save it with tokenizer.save_pretrained(folder) of a fast tokenizer",
        )
    if importlib.util.find_spec("tokenizers") is None:
        raise MissingExtraError("tokenizers", "data", "Counting tokens with a tokenizer.json")
    if file.stat().st_size > MOST_BYTES:
        raise DataError(
            f"larger than {MOST_BYTES // 2**20} MiB, which no tokenizer.json is", where=str(file)
        )
    return file


def _unicode(text: str) -> str:
    """A lone surrogate, which JSON can spell, is no Unicode text: the library refuses it."""
    return text.encode("utf-8", errors="replace").decode("utf-8")


def _pieces(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """(start, stop) of runs of about ENCODE_BYTES, so that encodings of few texts are alive at
    once."""
    start = size = 0
    for index, text in enumerate(texts):
        size += len(text)
        if size >= ENCODE_BYTES:
            yield start, index + 1
            start, size = index + 1, 0
    if start < len(texts):
        yield start, len(texts)
