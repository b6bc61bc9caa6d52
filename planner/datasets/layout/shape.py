"""What records of one shape mean: which columns are read, and as what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from planner.datasets.layout.cells.walk import empty
from planner.datasets.layout.column import Column

#: Kinds of records that a trainer renders as a conversation.
CONVERSATIONS = ("chat", "instruction", "preference")
#: Roles of columns in the order in which a conversation is put together.
SPOKEN = ("system", "tools", "history", "prompt", "conversation", "reasoning", "answer")


@dataclass(frozen=True)
class Shape:
    """``record_type``: chat, instruction (prompt and answer), preference (a chosen and a rejected
    answer), transfer (source → target), pair, retrieval (a text, its positive, negatives), span (a
    question and the passage that answers it), text, ids (already tokens), none.

    ``roles``: role → columns, as they are called in prepared records: of SPOKEN, and ``chosen``,
    ``rejected``, ``source``, ``target``, ``text``. ``copies``: columns whose text is counted with
    another. ``said``: choices among several readings, each with what was taken.
    """

    record_type: str
    roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    label: str | None = None
    copies: tuple[str, ...] = ()
    said: tuple[str, ...] = ()

    def paths(self, *roles: str) -> tuple[str, ...]:
        """The columns of these roles, in the roles' order."""
        if len(roles) == 1:
            return self.roles.get(roles[0], ())
        return tuple(path for role in roles for path in self.roles.get(role, ()))

    @cached_property
    def rounds_possible(self) -> bool:
        """One column of answers beside one of prompts: their lists may be rounds."""
        return len(self.paths("answer")) == 1 and bool(self.paths("prompt"))

    @cached_property
    def counted(self) -> tuple[str, ...]:
        """Columns whose text counts in the training of one answer."""
        return tuple(p for role, paths in self.roles.items() if role != "rejected" for p in paths)

    @cached_property
    def is_conversation(self) -> bool:
        return self.record_type in CONVERSATIONS

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        found = self.paths("conversation", "prompt", "source", "text")
        return found or self.paths("history", "chosen", "answer")

    @cached_property
    def target(self) -> str | None:
        found = next(iter(self.paths("chosen", "answer", "target")), None)
        return None if found in self.inputs else found

    def as_columns(self) -> dict[str, str]:
        """For the answer: role → columns."""
        named = {
            "kind": self.record_type,
            "inputs": ", ".join(self.inputs),
            "target": self.target,
            "label": self.label,
        }
        more = ("system", "tools", "history", "reasoning", "rejected", "negative")
        named |= {role: ", ".join(self.paths(role)) for role in more}
        return {role: value for role, value in named.items() if value}


@dataclass(eq=False)
class Layout:
    """All shapes of a dataset. ``shapes``: with the share of the records that were judged, the
    most frequent first. ``assign`` finds the shape of columns that were not met among them.
    ``flags``: columns of 0 and 1 that are a class each. ``task``: what the columns alone tell."""

    columns: Mapping[str, Column]
    shapes: tuple[tuple[Shape, float], ...]
    assign: Callable[[tuple[str, ...]], Shape]
    text_paths: tuple[str, ...]
    wanted: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    task: str | None = None
    _known: dict[tuple[str, ...], Shape] = field(default_factory=dict)

    @property
    def main(self) -> Shape:
        return self.shapes[0][0]

    @property
    def record_type(self) -> str:
        return self.main.record_type

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.main.inputs

    @property
    def target(self) -> str | None:
        return self.main.target

    @property
    def label(self) -> str | None:
        return self.main.label

    def as_columns(self) -> dict[str, str]:
        """Of the most frequent shape."""
        return self.main.as_columns()

    def shape_of(self, record: Mapping[str, Any]) -> Shape:
        """The shape of one prepared record, by the columns of text that it fills."""
        key = signature(record, self.text_paths)
        shape = self._known.get(key)
        if shape is None:
            shape = self._known[key] = self.assign(key)
        return shape


def signature(record: Mapping[str, Any], paths: Sequence[str]) -> tuple[str, ...]:
    """The columns among ``paths`` that hold something in this record."""
    get = record.get
    return tuple([path for path in paths if not empty(get(path))])
