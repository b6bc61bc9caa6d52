"""One worker: a process that answers jobs from a pipe, and prices the neighbours of the last
question while nobody asks."""

from __future__ import annotations

import gc
import os
import signal
import tempfile
from collections.abc import Iterator
from multiprocessing.connection import Connection

from planner.serve.work.ahead import neighbours
from planner.serve.work.answering import Answerer
from planner.serve.work.job import Job, Progress

#: Nobody asks for so long before a neighbour is priced, seconds.
IDLE_SECONDS = 0.5


def run(pipe: Connection, record: bool, online: bool) -> None:
    """Until the pipe closes. The process stands in an empty folder: no name is a file here."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server ends its workers itself
    gc.set_threshold(50_000, 20, 20)  # an answer makes few cycles, and what is kept is large
    with tempfile.TemporaryDirectory(prefix="planner-") as empty:
        os.chdir(empty)
        try:
            _serve(pipe, Answerer(record=record, online=online), ahead=not record)
        except (EOFError, OSError, KeyboardInterrupt):
            pass  # the server is gone
        finally:
            os.chdir("/")


def _serve(pipe: Connection, answerer: Answerer, *, ahead: bool) -> None:
    waiting: Iterator[Job] = iter(())
    while True:
        while not pipe.poll(IDLE_SECONDS):
            following = next(waiting, None)
            if following is None:
                break
            answerer.answer(following)
            while not pipe.poll(0) and (following := next(waiting, None)) is not None:
                answerer.answer(following)
        job: Job = pipe.recv()

        def progress(what: str, done: float, total: float | None = None) -> None:
            pipe.send(Progress(what, done, total))

        pipe.send(answerer.answer(job, progress))
        if ahead and job.kind == "estimate":
            waiting = neighbours(job)
