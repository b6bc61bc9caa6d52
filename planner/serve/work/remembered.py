"""Answers that were given today: who asks the same again waits for no worker."""

from __future__ import annotations

import json
from collections import OrderedDict

from planner.serve.work.job import Answered, Job
from planner.today import today

#: So many answers are kept, of at most so many bytes each: about 25 MB in all.
MOST, LARGEST_BYTES = 256, 100_000


class Remembered:
    """The last answers by their questions. A deadline depends on the hour, and other work than an
    estimate takes long or has another worker: neither is kept."""

    def __init__(self) -> None:
        self._answers: OrderedDict[str, Answered] = OrderedDict()

    def get(self, job: Job) -> Answered | None:
        found = self._answers.get(_key(job))
        if found is not None:
            self._answers.move_to_end(_key(job))
        return found

    def put(self, job: Job, answer: Answered) -> None:
        if job.kind != "estimate" or job.fields.get("deadline") is not None:
            return
        if len(answer.body) <= LARGEST_BYTES:
            self._answers[_key(job)] = answer
        while len(self._answers) > MOST:
            self._answers.popitem(last=False)


def _key(job: Job) -> str:
    """Prices age by the day: tomorrow it is another question."""
    fields = json.dumps(dict(job.fields), sort_keys=True, default=repr)
    return f"{today()} {job.kind} {job.suffix} {job.upload} {fields}"
