"""One moment for one answer: what day it is, which folders are the user's and what lies in them is
looked at once, however often an answer asks.

So no answer changes its mind half-way, at midnight or when a table is written, and none asks the
system some thousand times. Outside of an answer every look is a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

Seen = TypeVar("Seen")
_seen: ContextVar[dict[str, Any] | None] = ContextVar("seen", default=None)


@contextmanager
def one_moment() -> Generator[None, None, None]:
    """Inside, each look is taken once; an inner moment is part of the outer one."""
    if _seen.get() is not None:
        yield
        return
    token = _seen.set({})
    try:
        yield
    finally:
        _seen.reset(token)


def once(what: str, look: Callable[[], Seen]) -> Seen:
    """What ``look`` finds, or found in this moment; what it raises is raised again each time."""
    seen = _seen.get()
    if seen is None:
        return look()
    if what not in seen:
        seen[what] = look()
    return seen[what]
