"""The phases of a run by the clock: every moment from the command on belongs to one of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: What belongs to no other phase: from the command to the first step, and the process's end.
REST = "start_up"
PHASES: tuple[str, ...] = ("preparation", REST, "training", "evaluation", "saving")


class Stamps:
    """``began``: when the command was given, on the clock ``time.perf_counter`` that all processes
    of a machine share. Phases may lie in one another (an evaluation within the training): a moment
    belongs to the innermost. ``seconds`` by phase sum to ``until − began`` exactly."""

    def __init__(self, began: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self.began = self.until = began
        self.events: list[tuple[float, str]] = [(began, REST)]
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self.steps: list[float] = []
        self._inside = [REST]
        self._clock = clock
        self._step_began = 0.0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self.enter(name)
        try:
            yield
        finally:
            self.leave()

    def enter(self, name: str) -> None:
        if name not in self.seconds:
            raise ValueError(f"no phase {name!r}")
        self._count()
        self._inside.append(name)
        self.events.append((self.until, name))

    def leave(self) -> None:
        self._count()
        self._inside.pop()
        self.events.append((self.until, self._inside[-1]))

    def step_begins(self) -> None:
        self._step_began = self._clock()

    def step_ends(self) -> None:
        self.steps.append(self._clock() - self._step_began)

    def closed(self) -> dict[str, object]:
        """All of it as a document, with the time until now."""
        self._count()
        return {
            "began": self.began,
            "until": self.until,
            "seconds": self.seconds,
            "events": self.events,
            "steps": self.steps,
        }

    def _count(self) -> None:
        now = self._clock()
        self.seconds[self._inside[-1]] += now - self.until
        self.until = now
