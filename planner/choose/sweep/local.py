"""Questions answered in processes of this machine. One that dies takes nothing with it: the
question that it was at is asked once more in a new one, and then counts as failed."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any

from planner.choose.sweep.asked import Asked
from planner.choose.sweep.order import Chunk, Shares
from planner.choose.sweep.work import Reply, answered, without

#: Set before numpy and torch are imported: as many processes as cores would wait for each other.
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
#: A question that ends this many processes is not asked again.
MOST_DEATHS = 2


def answered_here(groups: Sequence[Sequence[Chunk]]) -> Iterator[Reply]:
    """In this process, one after another."""
    return (answered(one) for group in groups for chunk in group for one in chunk)


def answered_in_processes(groups: Sequence[Sequence[Chunk]], processes: int) -> Iterator[Reply]:
    """In so many processes; they end with the iterator."""
    shares, deaths = Shares(groups), dict[str, int]()
    parts = sum(len(group) for group in groups)
    workers = [_Worker(number) for number in range(min(processes, parts))]
    try:
        for worker in workers:
            worker.take(shares)
        while busy := {worker.pipe: worker for worker in workers if worker.left}:
            for pipe in wait(list(busy)):
                yield from _heard(busy[pipe], deaths)  # pyright: ignore[reportArgumentType]
            for worker in workers:
                if not worker.left:
                    worker.take(shares)
    finally:
        for worker in workers:
            worker.end()


def _heard(worker: _Worker, deaths: dict[str, int]) -> Iterator[Reply]:
    """What a worker says, or that it is gone."""
    try:
        reply: Reply = worker.pipe.recv()
    except (EOFError, OSError):
        died = worker.left[0]
        deaths[died.id] = deaths.get(died.id, 0) + 1
        code = worker.restart(skipping=deaths[died.id] >= MOST_DEATHS)
        if deaths[died.id] >= MOST_DEATHS:
            yield without(died, "failed", f"the process that answered it died{_why(code)}")
        return
    worker.left.pop(0)
    yield reply


def _why(code: int | None) -> str:
    if code is None:
        return ""
    return f" of signal {signal.Signals(-code).name}" if code < 0 else f" with exit code {code}"


class _Worker:
    """A process with the questions that it was given and has not answered."""

    def __init__(self, number: int) -> None:
        self.number, self.left = number, list[Asked]()
        self._start()

    def _start(self) -> None:
        # spawned: a fork would copy whatever threads and locks this process has
        spawn = multiprocessing.get_context("spawn")
        self.pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=run, args=(theirs,), daemon=True)
        with _interrupts_held_back():
            self._process.start()
        theirs.close()

    def take(self, shares: Shares) -> None:
        chunk = shares.next(self.number)
        if chunk is not None:
            self.left = list(chunk)
            self._send()

    def _send(self) -> None:
        try:
            self.pipe.send(tuple(self.left))
        except (BrokenPipeError, OSError):
            pass  # it died: hearing of it comes next

    def restart(self, *, skipping: bool) -> int | None:
        """A new process for what is left, without the first where it is given up; how the old one
        ended."""
        self.end()
        code = self._process.exitcode
        if skipping:
            self.left.pop(0)
        self._start()
        if self.left:
            self._send()
        return code

    def end(self) -> None:
        self.pipe.close()
        self._process.join(0.1)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


@contextmanager
def _interrupts_held_back() -> Generator[None, None, None]:
    """A process that is started inside hears no Ctrl-C, not even while it imports: whoever started
    it ends it. This one hears it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run(pipe: Connection) -> None:
    """One process: until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where signals cannot be held back
    for name in ONE_THREAD:
        os.environ[name] = "1"
    os.environ["PLANNER_PROCESSES"] = "1"  # the cores are taken already
    gc.set_threshold(50_000, 20, 20)  # an answer makes few cycles, and what is kept is large
    try:
        while True:
            _answer(pipe.recv(), pipe)
    except (EOFError, OSError, KeyboardInterrupt):
        pass  # the sweep is gone


def _answer(chunk: Any, pipe: Connection) -> None:
    from planner.moment import one_moment

    with one_moment():
        for one in chunk:
            pipe.send(answered(one))
