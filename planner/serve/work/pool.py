"""Workers, and the way from the server to them. Two kinds: quick ones, which answer from traces
that lie somewhere, and one that records what lies nowhere, so that nobody waits behind it."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from planner.serve.work.job import Answered, Job, Progress, Refused, Reply, Unrecorded
from planner.serve.work.process import run
from planner.serve.work.remembered import Remembered

Told = Callable[[Progress], None]
#: Seconds that a job waits for a worker before the server says that it is busy.
PATIENCE_SECONDS = 30.0
BUSY = Refused("the server is busy", mend="Ask again in a moment", status=503)
LOOK_SECONDS = 0.5


class Worker:
    """A process and the pipe to it, started when it is first asked."""

    def __init__(self, *, record: bool, online: bool) -> None:
        self.record, self.online = record, online
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None

    def ask(self, job: Job, seconds: float, told: Told | None) -> Reply:
        """Blocks. A worker that takes too long or dies is ended; the next job finds a new one."""
        pipe = self._started()
        until = time.monotonic() + seconds
        try:
            pipe.send(job)
            while time.monotonic() < until:
                if not pipe.poll(min(LOOK_SECONDS, max(0.0, until - time.monotonic()))):
                    continue
                reply: Reply = pipe.recv()
                if not isinstance(reply, Progress):
                    return reply
                if told is not None:
                    told(reply)
        except (EOFError, OSError):
            self.end()
            return Refused("the worker that answered this question died", status=500)
        self.end()
        return Refused(
            f"no answer within {seconds:.0f} s",
            mend="Ask for one strategy or one GPU",
            status=504,
        )

    def _started(self) -> Connection:
        if self._pipe is None or self._process is None or not self._process.is_alive():
            self.end()
            # spawned: a server has threads, which a fork would copy halfway
            spawn = multiprocessing.get_context("spawn")
            self._pipe, theirs = spawn.Pipe()
            process = spawn.Process(
                target=run, args=(theirs, self.record, self.online), daemon=True
            )
            process.start()
            self._process = process
            theirs.close()
        return self._pipe

    def end(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            self._process.kill()
            self._process.join(5.0)
        self._process = self._pipe = None


class Pool:
    """``quick`` workers and one that records. ``most_waiting``: jobs beyond this many are refused
    at once. ``seconds``: how long a quick answer may take; ``recording_seconds``: another one."""

    def __init__(
        self,
        quick: int,
        *,
        online: bool,
        seconds: float,
        recording_seconds: float,
        most_waiting: int,
    ) -> None:
        self.seconds, self.recording_seconds = seconds, recording_seconds
        self.most_waiting, self._waiting = most_waiting, 0
        self._remembered = Remembered()
        self._workers = [Worker(record=False, online=online) for _ in range(quick)]
        self._recorder = Worker(record=True, online=online)
        self._idle: asyncio.LifoQueue[Worker] = asyncio.LifoQueue()
        self._recording: asyncio.Queue[Worker] = asyncio.Queue()
        self._tasks: set[asyncio.Task[Reply]] = set()
        for worker in reversed(self._workers):
            self._idle.put_nowait(worker)
        self._recording.put_nowait(self._recorder)

    async def start(self, job: Job) -> None:
        """Starts the quick workers with a first question, all at once."""
        starting = (asyncio.to_thread(one.ask, job, self.seconds, None) for one in self._workers)
        await asyncio.gather(*starting)

    async def quick(self, job: Job) -> Reply:
        """``Unrecorded`` where a trace has to be recorded first."""
        known = self._remembered.get(job)
        if known is not None:
            return known
        reply = await self._asked(self._idle, job, self.seconds, None)
        if isinstance(reply, Answered):
            self._remembered.put(job, reply)
        return reply

    async def recorded(self, job: Job, told: Told | None = None) -> Reply:
        """By the worker that may record; jobs wait for each other there."""
        return await self._asked(self._recording, job, self.recording_seconds, told)

    async def answer(self, job: Job) -> Reply:
        reply = await self.quick(job)
        return await self.recorded(job) if isinstance(reply, Unrecorded) else reply

    async def _asked(
        self, queue: asyncio.Queue[Worker], job: Job, seconds: float, told: Told | None
    ) -> Reply:
        if self._waiting >= self.most_waiting:
            return BUSY
        self._waiting += 1
        try:
            patience = PATIENCE_SECONDS if queue is self._idle else self.recording_seconds
            async with asyncio.timeout(patience):
                worker = await queue.get()
        except TimeoutError:
            return BUSY
        finally:
            self._waiting -= 1
        # who asked may leave meanwhile: the worker comes back when it is done, not before
        task = asyncio.create_task(self._done(queue, worker, job, seconds, told))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _done(
        self,
        queue: asyncio.Queue[Worker],
        worker: Worker,
        job: Job,
        seconds: float,
        told: Told | None,
    ) -> Reply:
        try:
            return await asyncio.to_thread(worker.ask, job, seconds, told)
        finally:
            queue.put_nowait(worker)

    def end(self) -> None:
        for worker in (*self._workers, self._recorder):
            worker.end()
