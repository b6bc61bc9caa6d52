"""Work that may crash or hang, an item at a time in a process beside this one."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

_SPAWN = multiprocessing.get_context("spawn")
#: Seconds a process that is crashing has to end by itself, and one that is killed to be gone.
GRACE_OF_A_CRASH, GRACE = 1.0, 5.0
#: Seconds between two looks, and how often the limit may pass by the clock.
PATIENCE, BY_THE_CLOCK = 1.0, 4.0


class Worker:
    """``work`` in a process that is begun anew after a crash, or when an item takes longer than
    ``limit`` seconds. ``work`` is a module's function; items and results are pickled."""

    def __init__(self, work: Callable[[Any], Any], limit: float) -> None:
        self._work, self._limit = work, limit
        self._process: Any = None
        self._pipe: Any = None

    def __call__(self, item: Any) -> tuple[Any, str | None]:
        """(result, None), or (None, one line of how the process ended)."""
        if self._process is None:
            self._begin()
        self._pipe.send(item)
        if not self._answers():
            self.end()
            return None, f"not done after {self._limit:.0f} s"
        try:
            return self._pipe.recv(), None
        except EOFError:
            return None, f"CRASH: its process ended with {self.end()}"

    def _answers(self) -> bool:
        """Whether the pipe has something before the limit: of the process's own time where that is
        known, as others may use the machine, and of several times as much by the clock."""
        begun, started = processor_seconds(self._process.pid), time.monotonic()
        while not self._pipe.poll(PATIENCE):
            used, waited = processor_seconds(self._process.pid), time.monotonic() - started
            busy = used - begun if used is not None and begun is not None else waited
            if busy > self._limit or waited > BY_THE_CLOCK * self._limit:
                return False
        return True

    def _begin(self) -> None:
        self._pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_serve, args=(self._work, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def end(self) -> int | None:
        """Ends the process; its exit code where it had ended by itself."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.join(GRACE_OF_A_CRASH)
        code = process.exitcode
        process.kill()
        process.join(GRACE)
        self._pipe.close()
        return code


def processor_seconds(pid: int) -> float | None:
    """User and system time of a process so far, None where the system does not show it."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _serve(work: Callable[[Any], Any], pipe: Any) -> None:
    while True:
        try:
            item = pipe.recv()
        except EOFError:
            return
        pipe.send(work(item))


def each(
    work: Callable[[Any], Any], items: Iterable[Any], limit: float
) -> Iterator[tuple[Any, Any, str | None]]:
    """(item, result, how its process failed) of each item, in order."""
    worker = Worker(work, limit)
    try:
        for item in items:
            yield item, *worker(item)
    finally:
        worker.end()
