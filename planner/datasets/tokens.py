"""Text becomes token counts: by a tokenizer on disk, or by measured bytes per token of each
script."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np

from planner import tables
from planner.datasets.constants import constant
from planner.errors import ProfileError

CODE_SIGNS = "(){}[];=_<>"

_SCRIPTS = {
    "cjk": re.compile(
        "[\u3000-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]+"
    ),
    # Greek is taken as Cyrillic: the nearest that was measured
    "cyrillic": re.compile("[\u0370-\u052f]+"),
    "arabic": re.compile("[\u0590-\u077f\u08a0-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]+"),  # with Hebrew
    # with the other scripts of South and South-East Asia
    "devanagari": re.compile("[\u0900-\u1fff]+"),
}
_NUMBERS = re.compile(r"[0-9][0-9.,:/\-]*")
_ACCENTED = re.compile("[\u00a0-\u036f]")


class TokenCounter(Protocol):
    """``name`` for the report; ``relative_error``: one standard deviation of a mean count over its
    value."""

    @property
    def name(self) -> str: ...

    @property
    def relative_error(self) -> float: ...

    def count(self, texts: Sequence[str]) -> np.ndarray:
        """Tokens of each text without special tokens, int64 [texts]."""
        ...


@dataclass
class BytesPerToken:
    """Counts by ratio. ``relative_error`` is the token-weighted mean of the rows used so far; 0
    before anything is counted."""

    vocabulary: str
    tokens: dict[str, float]

    @classmethod
    def for_vocabulary(cls, size: int | None) -> BytesPerToken:
        """``size`` entries of the model's vocabulary; None counts as large, as current models
        have."""
        for name in ("small", "medium"):
            if size is not None and size <= constant(f"{name}_vocabulary"):
                return cls(name, {})
        return cls("large", {})

    @property
    def relative_error(self) -> float:
        total = sum(self.tokens.values())
        return (
            sum(n * ratio(script, self.vocabulary)[1] for script, n in self.tokens.items()) / total
            if total
            else 0.0
        )

    @property
    def name(self) -> str:
        used = ", ".join(
            f"{ratio(s, self.vocabulary)[0]:g} ({s})"
            for s in sorted(self.tokens, key=lambda s: -self.tokens[s])[:3]
        )
        return f"{used or 'no'} bytes per token, {self.vocabulary} vocabulary"

    def count(self, texts: Sequence[str]) -> np.ndarray:
        out = np.zeros(len(texts), dtype=np.int64)
        for index, text in enumerate(texts):
            total = 0.0
            for script, size in script_bytes(text).items():
                tokens = size / ratio(script, self.vocabulary)[0]
                self.tokens[script] = self.tokens.get(script, 0.0) + tokens
                total += tokens
            out[index] = max(1, round(total)) if text else 0
        return out


def is_by_letter(vocabulary: int | None) -> bool:
    """Whether a vocabulary is of letters, bytes or amino acids: each is a token."""
    return vocabulary is not None and vocabulary <= constant("letter_vocabulary")


class Letters:
    """A token for each byte of a text: amino acids, letters of transcripts, bytes of ByT5."""

    name = "a token a letter"
    relative_error = 0.0

    def count(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([len(text.encode()) for text in texts], dtype=np.int64)


@cache
def ratio(script: str, vocabulary: str) -> tuple[float, float]:
    """(bytes per token, relative error) of profiles/datasets/bytes_per_token.csv. Raises
    ProfileError."""
    for row in tables.rows("datasets", "bytes_per_token.csv"):
        if row["script"] == script and row["vocabulary"] == vocabulary:
            return float(row["bytes_per_token"]), float(row["relative_error"])
    raise ProfileError(
        f"no bytes per token for {script}, {vocabulary} vocabulary",
        where="profiles/datasets/bytes_per_token.csv",
    )


def script_bytes(text: str) -> dict[str, float]:
    """UTF-8 bytes of a text by script; the parts sum to its size."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", errors="replace"))
    if not size:
        return {}
    parts = {}
    if len(text) != size:
        for script, pattern in _SCRIPTS.items():
            found = sum(len(run.encode("utf-8", errors="replace")) for run in pattern.findall(text))
            if found:
                parts[script] = found
    rest = size - sum(parts.values())
    if rest:
        for script, share in _western(text):
            parts[script] = parts.get(script, 0) + share * rest
    return parts


def _western(text: str) -> list[tuple[str, float]]:
    """(script, share) of a text in the Latin alphabet: numbers in lines full of them are numeric,
    the rest is ascii, latin or code."""
    numbers = ((sum(map(len, _NUMBERS.findall(line))), len(line)) for line in text.split("\n"))
    # numbers have far fewer bytes a token than words
    digits = constant("digits")
    numeric = sum(size for size, line in numbers if size > digits * line) / len(text)
    accented = constant("accented_letters") * len(text)
    is_accented = not text.isascii() and len(_ACCENTED.findall(text)) > accented
    is_code = sum(map(text.count, CODE_SIGNS)) > constant("code_signs") * len(text)
    rest = "latin" if is_accented else "code" if is_code else "ascii"
    return [
        (name, share) for name, share in (("numeric", numeric), (rest, 1 - numeric)) if share > 0
    ]


@cache
def special_tokens(kind: str) -> int:
    """Tokens that are added to a record of a kind (text, encoder, encoder_pair, seq2seq: a side) of
    profiles/datasets/special_tokens.csv. Raises ProfileError."""
    for row in tables.rows("datasets", "special_tokens.csv"):
        if row["kind"] == kind:
            return int(row["tokens_per_record"])
    raise ProfileError(f"no kind {kind!r}", where="profiles/datasets/special_tokens.csv")
