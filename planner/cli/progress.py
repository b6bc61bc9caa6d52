"""Progress on standard error for work that takes more than half a second; a fast answer flickers
nothing. A bar on a terminal; elsewhere plain lines, one when another part begins and one every few
seconds. Never on standard output.

``PLANNER_PROGRESS=never`` turns it off for scripts that keep standard error.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

DELAY_SECONDS = 0.4
#: Between two looks for something new to say, and between two plain lines on the same part.
LOOK_SECONDS, LINE_SECONDS = 0.5, 5.0


class Progress:
    """``progress(description, done, total)``; ``total`` None where it is not known. A context
    manager, which shows ``doing`` until it is told more. ``single``: one bar for all, its
    description changing, where the parts share one total.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        enabled: bool = True,
        single: bool = False,
        doing: str = "starting",
    ):
        self._stream, self._single = stream, single
        self._enabled = enabled and os.environ.get("PLANNER_PROGRESS") != "never"
        self._shown: _OnTerminal | _InLines = (
            _OnTerminal(stream) if stream.isatty() else _InLines(stream)
        )
        self._now: tuple[str, float, float | None] = (doing, 0, None)
        self._visible = False
        self._lock, self._stopping = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Progress:
        if self._enabled:
            self._thread = threading.Thread(target=self._watch, name="progress", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        self._shown.close()

    def __call__(self, description: str, done: float, total: float | None = None) -> None:
        if self._thread is None:
            return
        with self._lock:
            self._now = (description, done, total)
            if self._visible:
                self._show()

    def _watch(self) -> None:
        """The work may call nobody for seconds, while libraries are imported: a thread of its own
        says that it goes on."""
        wait = DELAY_SECONDS
        while not self._stopping.wait(wait):
            with self._lock:
                self._visible = True
                self._show()
            wait = LOOK_SECONDS

    def _show(self) -> None:
        description, done, total = self._now
        self._shown.show("" if self._single else description, description, done, total)


class _InLines:
    """Where standard error is a file or a pipe."""

    def __init__(self, stream: TextIO):
        self._stream = stream
        self._said: tuple[str, float] = ("", 0.0)
        self._last = ""

    def show(self, name: str, description: str, done: float, total: float | None) -> None:
        part, at = self._said
        now = time.monotonic()
        if description == part and now - at < LINE_SECONDS:
            return
        line = description if not total else f"{description}: {done / total:.0%}"
        self._said = (description, now)
        if line != self._last:
            self._last = line
            print(line, file=self._stream, flush=True)

    def close(self) -> None:
        pass


class _OnTerminal:
    """A bar for each part, gone when the work is done."""

    def __init__(self, stream: TextIO):
        self._stream = stream
        self._bar: Bar | None = None
        self._tasks: dict[str, TaskID] = {}

    def show(self, name: str, description: str, done: float, total: float | None) -> None:
        bar = self._opened()
        if name not in self._tasks:
            self._tasks[name] = bar.add_task(description, total=total)
        bar.update(self._tasks[name], description=description, completed=done, total=total)

    def _opened(self) -> Bar:
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

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
