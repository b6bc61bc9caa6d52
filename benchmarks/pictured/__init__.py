"""The pictures of README.md and docs/: one file a picture or a few of a kind, with ``PICTURES``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
#: The day that pictures of answers are as of; moves on with the shipped prices.
TODAY = "2026-11-28"


@dataclass(frozen=True)
class Picture:
    """A file of ``docs/pictures``. ``make(folder)`` writes ``folder / file``, and what belongs to
    it."""

    file: str
    what: str
    make: Callable[[Path], None]
