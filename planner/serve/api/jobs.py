"""Answers that take long: a number that a page asks for until the answer is there."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from dataclasses import dataclass

from planner.serve.work.job import Job, Progress, Refused, Reply
from planner.serve.work.pool import Pool

FULL = Refused("too many questions are being recorded", mend="Ask again in a moment", status=503)


@dataclass
class Running:
    """``done`` and ``total`` as the worker tells them; ``reply`` when it is there."""

    what: str = "waiting for the recorder"
    done: float = 0
    total: float | None = None
    reply: Reply | None = None

    def tell(self, progress: Progress) -> None:
        self.what, self.done, self.total = progress.what, progress.done, progress.total


class Jobs:
    """The ``most`` newest jobs. Numbers cannot be guessed."""

    def __init__(self, pool: Pool, most: int) -> None:
        self.pool, self.most = pool, most
        self._running: OrderedDict[str, Running] = OrderedDict()
        self._asked: dict[tuple[object, ...], str] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, job: Job) -> str | Refused:
        """Its number; the same one while the same question is being answered."""
        key = (job.kind, job.suffix, repr(sorted(job.fields.items(), key=lambda item: item[0])))
        known = self._asked.get(key)
        if known in self._running and self._running[known].reply is None:
            return known
        if sum(one.reply is None for one in self._running.values()) >= self.most:
            return FULL
        number = secrets.token_urlsafe(12)
        self._running[number] = Running()
        self._asked[key] = number
        self._forget()
        task = asyncio.create_task(self._run(number, job, key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return number

    def get(self, number: str) -> Running | None:
        return self._running.get(number)

    async def _run(self, number: str, job: Job, key: tuple[object, ...]) -> None:
        running = self._running[number]
        running.reply = await self.pool.recorded(job, running.tell)
        if self._asked.get(key) == number:
            del self._asked[key]

    def _forget(self) -> None:
        """The oldest that are answered."""
        answered = [number for number, one in self._running.items() if one.reply is not None]
        for number in answered[: max(0, len(self._running) - self.most)]:
            del self._running[number]
