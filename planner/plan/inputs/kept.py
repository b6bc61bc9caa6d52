"""What questions have in common: traces that were loaded and what was worked out of them, so that
the next question about the same model is arithmetic."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from planner.memory.replays import Replays
from planner.models.facts import ModelFacts
from planner.trace.source import TraceSource

Sources = dict[tuple[Any, ...], TraceSource]


class Kept:
    """Trace sources of the ``most`` models that were asked for last, and the replays of all. Of one
    thread: nothing here is locked.

    ``record``: whether a trace that lies nowhere is recorded; else ``NotRecordedError`` is raised.
    """

    def __init__(self, most: int = 6, *, record: bool = True) -> None:
        self.most, self.record = most, record
        self.replays = Replays()
        self._models: OrderedDict[tuple[Any, ...], tuple[ModelFacts, Sources]] = OrderedDict()

    def sources(self, facts: ModelFacts, stack: str | None) -> Sources:
        """Those of a model under a stack, which sees traces its own way; empty where the model is
        new, or another than its name meant before."""
        key = (facts.name, facts.task, stack)
        known, found = self._models.pop(key, (facts, Sources()))
        if known != facts:
            found = Sources()
        self._models[key] = facts, found
        while len(self._models) > self.most:
            self._models.popitem(last=False)
        return found

    def __len__(self) -> int:
        return len(self._models)


_current: ContextVar[Kept | None] = ContextVar("kept", default=None)


@contextmanager
def keeping(kept: Kept) -> Generator[None, None, None]:
    """Inside, every question that is understood starts from what the earlier ones left, and leaves
    what it finds; outside each stands alone."""
    token = _current.set(kept)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Kept | None:
    return _current.get()
