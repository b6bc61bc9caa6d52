"""How far a sweep is, in one line: what is done, how fast, how long it takes yet."""

from __future__ import annotations

import time
from collections import deque

from planner.units import format_seconds

#: The rate is that of the last so many seconds: parts whose trace is known are faster.
WINDOW_SECONDS = 30.0


class Pace:
    """``total`` questions, of which ``kept`` were answered before."""

    def __init__(self, total: int, kept: int = 0) -> None:
        self.total, self.done = total, kept
        self.refused = self.failed = 0
        self._began = time.monotonic()
        self._last: deque[tuple[float, int]] = deque([(self._began, kept)])
        self._kept = kept

    def count(self, status: str) -> None:
        self.done += 1
        self.refused += status == "refused"
        self.failed += status == "failed"
        now = time.monotonic()
        self._last.append((now, self.done))
        while len(self._last) > 2 and now - self._last[0][0] > WINDOW_SECONDS:
            self._last.popleft()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    @property
    def per_second(self) -> float | None:
        """Of the last half minute; None before the first answer."""
        (first, before), (last, after) = self._last[0], self._last[-1]
        return (after - before) / (last - first) if last > first else None

    @property
    def words(self) -> str:
        rate = self.per_second
        parts = [f"{self.done:,} of {self.total:,} questions"]
        if rate:
            left = (self.total - self.done) / rate
            parts += [f"{rate:.3g}/s", f"{format_seconds(left)} left"]
        parts += [f"{self.refused:,} refused"] * bool(self.refused)
        parts += [f"{self.failed:,} failed"] * bool(self.failed)
        return ", ".join(parts)
