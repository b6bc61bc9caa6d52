"""Progress on standard error, only for work that takes over a second: a fast answer flickers
nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import TaskID

DELAY_SECONDS = 1.0


class Progress:
    """``progress(description, done, total)``; ``total`` None where it is not known. A context
    manager. ``single``: one bar for all, its description changing, where the parts share one total.
    """

    def __init__(self, stream: TextIO, *, enabled: bool = True, single: bool = False):
        self._stream, self._enabled, self._single = stream, enabled, single
        self._started = time.monotonic()
        self._bar = None
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, description: str, done: float, total: float | None = None) -> None:
        if not self._enabled or time.monotonic() - self._started < DELAY_SECONDS:
            return
        bar = self._opened()
        name = "" if self._single else description
        if name not in self._tasks:
            self._tasks[name] = bar.add_task(description, total=total)
        bar.update(self._tasks[name], description=description, completed=done, total=total)

    def _opened(self):
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TaskProgressColumn(),
                TimeElapsedColumn(),
                console=Console(file=self._stream, markup=False, emoji=False),
                transient=True,
            )
            self._bar.start()
        return self._bar
