"""Tokens of a rendered text where no tokenizer is at hand: special tokens count as such, the role
and the newlines of a header one each, and the rest by its bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from planner.datasets.tokens import BytesPerToken

#: How special tokens are usually spelled, for models that do not list theirs.
USUAL = r"<\|[^\s|<>]{1,40}\|>|<｜[^\s<>]{1,40}?｜>|</?s>|<(?:bos|eos|(?:start|end)_of_turn)>"
#: A role alone or before a newline, or newlines, at the start of what follows a special token.
HEADER = re.compile(r"([A-Za-z_]{1,16}(?=\n|$))?(\n+)?")
TAIL = re.compile(r"\n+$")


def count_marked(
    counter: BytesPerToken, texts: Sequence[str], special: Mapping[str, int]
) -> np.ndarray:
    """Tokens of each text, int64 [texts]."""
    split = [_split(text, special) for text in texts]
    totals = np.array([number for number, _ in split], dtype=np.int64)
    owners = np.repeat(np.arange(len(split)), [len(rest) for _, rest in split])
    np.add.at(totals, owners, counter.count([text for _, rest in split for text in rest]))
    return totals


def _split(text: str, special: Mapping[str, int]) -> tuple[int, list[str]]:
    """(tokens of the marks, the texts between them)."""
    tokens, rest, end = 0, [], 0
    for found in _pattern(tuple(special)).finditer(text):
        number, inner = _between(text[end : found.start()])
        tokens += special.get(found[0], 1) + number
        rest.append(inner)
        end = found.end()
    number, inner = _between(text[end:]) if end else (0, text)
    return tokens + number, [part for part in (*rest, inner) if part]


def _between(text: str) -> tuple[int, str]:
    head = HEADER.match(text)
    assert head is not None  # it matches the empty text
    tokens = sum(group is not None for group in head.groups())
    text = text[head.end() :]
    tail = TAIL.search(text)
    return (tokens + 1, text[: tail.start()]) if tail else (tokens, text)


@cache
def _pattern(special: tuple[str, ...]) -> re.Pattern[str]:
    known = sorted(map(re.escape, filter(None, special)), key=len, reverse=True)
    return re.compile("|".join([*known, USUAL]))
