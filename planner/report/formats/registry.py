"""Which formats there are: one file of this package a format, with its ``FORMATS``, found by
itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from planner.registry import declared

#: What is written: an answer, a document of ``choose``, of models for data or of data, runs of the
#: ledger, a drawn matplotlib figure.
Written = Literal["answer", "choice", "models", "data", "runs", "picture"]


@dataclass(frozen=True)
class Format:
    """How one thing is written into files of one suffix. ``render(thing)`` → the file's text or
    bytes. ``order``: where it stands among those that are offered."""

    written: Written
    suffix: str
    render: Callable[[Any], str | bytes]
    order: int = 100


@cache
def formats_of(written: Written) -> dict[str, Format]:
    """suffix → format, in the order in which they are offered. Raises RuntimeError when two claim
    one suffix."""
    known: list[Format] = sorted(
        (
            each
            for each in chain(*declared("planner.report.formats", "FORMATS"))
            if each.written == written
        ),
        key=lambda each: each.order,
    )
    found = {each.suffix: each for each in known}
    if len(found) < len(known):
        raise RuntimeError(f"two formats of {written} claim one suffix")
    return found


def format_for(path: Path, written: Written) -> Format | None:
    """The format of a file's suffix, None where there is none."""
    return formats_of(written).get(path.suffix.lower())
