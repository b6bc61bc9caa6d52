"""What was worked out of an object and may be asked again, kept with it and bounded."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Value = TypeVar("Value")


class Parts:
    """Results by the part of an object that they are of, told by its identity. A part is held, so
    that its identity stays its own."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[object, Any]] = {}

    def of(self, part: object, make: Callable[[], Value]) -> Value:
        """The result of this part, made when it is not there."""
        found = self._made.get(id(part))
        if found is None:
            found = self._made[id(part)] = part, make()
        return found[1]


class Memo:
    """Results by topic and key. It belongs to one object and goes with it; what is kept must
    follow from that object and the key alone."""

    def __init__(self) -> None:
        self._topics: dict[str, dict[Hashable, Any]] = {}

    def of(
        self,
        topic: str,
        key: Hashable,
        make: Callable[[], Value],
        *,
        most: int = 256,
        alone: bool = False,
    ) -> Value:
        """The result under this key, made when it is not there. A topic keeps the ``most`` newest;
        ``alone``: this one is large, and the topic's others go before it is made."""
        kept = self._topics.setdefault(topic, {})
        if key not in kept:
            if alone:
                kept.clear()
            made = make()
            while len(kept) >= most:
                del kept[next(iter(kept))]
            kept[key] = made
        return kept[key]

    def count(self, topic: str) -> int:
        """How many results of a topic are kept."""
        return len(self._topics.get(topic, ()))
