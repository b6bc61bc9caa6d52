"""What a text is, by how it is written: language, or a number, a date, a path, an identifier."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from planner.datasets.constants import constant

LANGUAGE, LABEL, WORD = "language", "label", "word"
#: Kinds of text that no trainer reads as language.
ODD_KINDS = ("number", "date", "url", "path", "hash", "base64", "identifier")
MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_ONE_WORD = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("number", r"[+\-$€£]?[\d][\d.,:/ eE+\-]*[%€]?"),
        ("url", r"([a-zA-Z][a-zA-Z0-9+.\-]*://|www\.|data:[\w/+.\-]*;)\S+"),
        ("url", r"[^\s@]+@[^\s@]+\.\w+"),
        ("hash", r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
        ("hash", r"(?=\S*\d)[0-9a-fA-F]{16,128}"),
        ("path", r"([A-Za-z]:)?[\w.~@+=\-]*([/\\][\w.~@+=%\-]*)+"),
        ("path", r"[\w@+=~.\-]+\.[A-Za-z][A-Za-z0-9]{1,4}"),
        ("base64", r"(?=\S*\d)(?=\S*[a-z])(?=\S*[A-Z])[A-Za-z0-9+/_\-]{48,}={0,2}"),
        ("identifier", r"(?=\S*[\d_#@])[\w.:@#|/\-]{1,80}"),
    )
)
_DATE = re.compile(
    r"\d{4}[-/.]\d{1,2}([-/.]\d{1,2})?([T ]\d{1,2}:\d{2}\S*( ?(UTC|GMT|[AP]M))?)?"
    r"|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}( \d{1,2}:\d{2}\S*( ?[AP]M)?)?|\d{1,2}:\d{2}(:\d{2}\S*)?"
    rf"|(\w{{3,9}},? )?({MONTHS})[a-z]*\.? \d{{1,2}}(,? .{{0,20}})?"
    rf"|(\w{{3}}, )?\d{{1,2}} ({MONTHS})[a-z]*\.?( .{{0,20}})?",
    re.IGNORECASE,
)
_PATH_WITH_SPACES = re.compile(r"([A-Za-z]:)?[\w .~@+=\-]*[/\\][\w .~@+=%/\\\-]*\.\w{1,5}")
#: Scripts written without spaces between words.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]{2}")
SEEN = 600  # characters of a text by which it is told what it is


def kind_of_text(text: str) -> str:
    """Of one text: LANGUAGE, WORD, one of ODD_KINDS, or "" for blank. Examples: ``a few words``,
    ``positive``, ``2024-05-01``."""
    text = text.strip()
    if not text:
        return ""
    if len(text) <= constant("short_text") and _DATE.fullmatch(text):
        return "date"
    if not any(map(str.isspace, text[:SEEN])):
        return _one_word(text)
    if len(text) <= constant("short_text") and _PATH_WITH_SPACES.fullmatch(text):
        return "path"
    start = text[:SEEN]
    letters = sum(map(str.isalpha, start))
    return LANGUAGE if letters >= constant("letters") * len(start) else "number"


def _one_word(text: str) -> str:
    if _UNSPACED.search(text):
        return LANGUAGE
    if text.isalpha():  # a word, or a sequence of bases or of amino acids
        return WORD if len(text) <= constant("longest_word") else LANGUAGE
    head = text[:SEEN]
    for kind, pattern in _ONE_WORD:
        if pattern.fullmatch(head):
            return kind
    return WORD if len(text) <= constant("longest_word") else LANGUAGE


def kind_of_texts(texts: Sequence[str]) -> str:
    """Of a column's texts: LANGUAGE where language holds a good part of its bytes and its values
    vary or are long; LABEL for few short values; else the kind most of them have; "" where all are
    blank."""
    sizes: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for text in texts:
        kind = kind_of_text(text)
        if kind:
            sizes[kind] += len(text)
            counts[kind] += 1
    if not sizes:
        return ""
    if few(texts) and not (set(counts) & set(ODD_KINDS)):
        return LABEL
    if sizes[LANGUAGE] >= constant("language_share") * sum(sizes.values()):
        return LANGUAGE
    return max(counts, key=counts.__getitem__)


def few(values: Iterable[str]) -> bool:
    """Short values of which the same ones come again and again, as a label's do."""
    filled = [value for value in values if value.strip()]
    distinct = set(filled)
    if not filled or max(map(len, distinct)) > constant("longest_label"):
        return False
    if len(distinct) == 1:
        return len(filled) > 1 or len(filled[0].split()) == 1
    return len(distinct) <= constant("label_share") * len(filled)


def size_of(text: str) -> int:
    """UTF-8 bytes; a lone surrogate counts as the sign that takes its place."""
    return len(text) if text.isascii() else len(text.encode("utf-8", errors="replace"))
