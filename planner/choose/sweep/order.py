"""In which order questions are answered: those that one trace serves after one another, of these
the ones of one shape, so that each process works out once what they have in common."""

from __future__ import annotations

import dataclasses
import json
from collections import deque
from collections.abc import Iterable, Sequence

from planner.choose.sweep.asked import Asked
from planner.question import Question
from planner.question.groups import GROUPS
from planner.question.setup import TracedSettings

#: What tells traces apart.
TRACED = tuple(
    dict.fromkeys(
        (
            "model",
            "teacher",
            "stack",
            "objective",
            *(one.name for one in dataclasses.fields(TracedSettings)),
        )
    )
)
#: What changes neither the trace nor its shape: a replay of memory serves many of these.
RENTED = ("gpu", "gpus", *GROUPS["Hardware"], *GROUPS["Money"], "max_usd", "max_hours", "deadline")
SHAPED = tuple(name for name in Question.model_fields if name not in {*TRACED, *RENTED})

Chunk = tuple[Asked, ...]


def _key(one: Asked, names: Iterable[str]) -> str:
    """Equal for equal values; an order that is the same everywhere."""
    values = one.values or {}
    return json.dumps([values.get(name) for name in names], ensure_ascii=False, default=str)


def chunks(questions: Sequence[Asked], most: int) -> list[list[Chunk]]:
    """A list a trace of parts of at most ``most`` questions; the largest lists first, so that none
    is left for one process at the end."""
    groups: dict[str, list[Asked]] = {}
    for one in questions:
        groups.setdefault(_key(one, TRACED), []).append(one)
    found: list[list[Chunk]] = []
    for group in groups.values():
        group.sort(key=lambda one: (_key(one, SHAPED), _key(one, RENTED)))
        found.append([tuple(group[at : at + most]) for at in range(0, len(group), most)])
    return sorted(found, key=len, reverse=True)


class Shares:
    """Parts handed out to processes: each stays with its trace as long as there is any of it, then
    takes one that nobody has, then from the end of what another works on."""

    def __init__(self, groups: Sequence[Sequence[Chunk]]) -> None:
        self._left = {number: deque(group) for number, group in enumerate(groups) if group}
        self._of: dict[int, int] = {}  # process → group

    def next(self, process: int) -> Chunk | None:
        """None where nothing is left."""
        own = self._of.get(process)
        if own in self._left:
            return self._taken(own)
        busy = set(self._of.values())
        free = next((number for number in self._left if number not in busy), None)
        if free is not None:
            self._of[process] = free
            return self._taken(free)
        if not self._left:
            return None
        largest = max(self._left, key=lambda number: len(self._left[number]))
        return self._taken(largest, last=True)

    def _taken(self, number: int, last: bool = False) -> Chunk:
        parts = self._left[number]
        found = parts.pop() if last else parts.popleft()
        if not parts:
            del self._left[number]
        return found
