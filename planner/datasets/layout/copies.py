"""Columns that repeat the text of others: it counts once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from planner.datasets.constants import constant
from planner.datasets.layout.cells.walk import empty, joined, strings

RECORDS = 40  # that two columns are compared in
COMPARED = 4000  # characters of each text
_WORD = re.compile(r"\w+")


def is_copy(records: Sequence[Mapping[str, Any]], path: str, others: Sequence[str]) -> bool:
    """Whether the column repeats what ``others`` say together, or they what it says, in nearly all
    records: a prompt beside the messages that hold it, a text rendered from the other columns."""
    met = [r for r in records if not empty(r.get(path))][:RECORDS]
    pairs = [(_words(r[path]), [w for o in others if (w := _words(r.get(o)))]) for r in met]
    pairs = [(own, rest) for own, rest in pairs if own and rest]
    if not pairs or len(pairs) < constant("copy_share") * len(met):
        return False
    hits = sum(_inside(own, sum(rest, [])) or _covers(own, rest) for own, rest in pairs)
    return hits >= constant("copy_share") * len(pairs)


def _words(value: Any) -> list[str]:
    text = value if isinstance(value, str) else " ".join(strings(value))
    return _WORD.findall((text or joined(value))[:COMPARED].lower())


def _inside(own: list[str], other: list[str]) -> bool:
    """The runs of words of one that the other has too."""
    run = int(constant("copy_run"))
    if len(own) < run:
        return f" {' '.join(own)} " in f" {' '.join(other)} "
    mine = {tuple(own[i : i + run]) for i in range(len(own) - run + 1)}
    theirs = {tuple(other[i : i + run]) for i in range(len(other) - run + 1)}
    return len(mine & theirs) >= constant("copy_share") * len(mine)


def _covers(own: list[str], others: list[list[str]]) -> bool:
    """One text that holds every other one."""
    return all(_inside(other, own) for other in others)
