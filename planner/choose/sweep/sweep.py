"""The whole way from a grid's file to the table of all answers."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.choose.sweep.asked import Asked, questions_of
from planner.choose.sweep.clusters import answered_on_dask, answered_on_ray
from planner.choose.sweep.columns import DOCUMENT, asked_row, columns, has_limits
from planner.choose.sweep.grid import read_grid
from planner.choose.sweep.journal import Journal
from planner.choose.sweep.local import answered_here, answered_in_processes
from planner.choose.sweep.order import Chunk, chunks
from planner.choose.sweep.pace import Pace
from planner.choose.sweep.table import check_output, holds_documents, write_table
from planner.choose.sweep.work import Reply, without
from planner.errors import FieldName, QuestionError

Progress = Callable[[str, int, int], None]
#: Questions that a process is given at once: few, so that none waits for another at the end.
TOGETHER = 16
#: Reasons of refusals that a summary lists, the most frequent first.
MOST_REASONS = 5


@dataclass(frozen=True)
class Where:
    """Where questions are answered: in ``processes`` of this machine (None: one a core), or on the
    workers of a ``dask`` scheduler or of ``ray`` (an address, or blank for the one of here)."""

    processes: int | None = None
    dask: str | None = None
    ray: str | None = None

    def answers(self, groups: Sequence[Sequence[Chunk]]) -> Iterator[Reply]:
        if self.dask is not None:
            return answered_on_dask(groups, self.dask)
        if self.ray is not None:
            return answered_on_ray(groups, self.ray or None)
        if self.count == 1:
            return answered_here(groups)
        return answered_in_processes(groups, self.count)

    @property
    def count(self) -> int:
        return self.processes or _cores()

    @property
    def is_here(self) -> bool:
        return self.dask is None and self.ray is None


class Interrupted(KeyboardInterrupt):
    """Somebody ended a sweep; ``kept`` says what is kept, and how to go on."""

    def __init__(self, kept: str) -> None:
        super().__init__(kept)
        self.kept = kept


def sweep(
    grid: Path,
    output: Path,
    *,
    where: Where | None = None,
    anew: bool = False,
    documents: bool | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Answer every question of a grid's file and write the table ``output``, by its suffix.

    Answers are kept beside it as they come, and those that are kept already are not asked again,
    unless ``anew``. ``documents``: whether each row holds the whole answer as JSON (None: all but
    CSV do). Returns the summary, as plain JSON. Raises PlannerError where nothing can be asked or
    written, Interrupted where somebody ends it.
    """
    where = where or Where()
    check_output(output)
    read = read_grid(grid)
    if progress:
        progress("reading the grid", 0, read.count)
    questions, again = questions_of(read)
    _check_alone(questions, where)
    with Journal(output, questions, anew=anew) as journal:
        kept = sum(one.id in journal for one in questions)
        pace = Pace(len(questions), kept)
        failed = _answer(questions, journal, where, pace, progress)
        if progress:
            progress("writing the table", pace.total, pace.total)
        whole = holds_documents(output) if documents is None else documents
        names = columns(["model", *(n for n in read.fields if n != "model")], documents=whole)
        counted = _Counted()
        write_table(output, names, counted.rows(questions, read.fields, journal))
        if not failed:
            journal.remove()
        return {
            "schema": 1,
            "grid": str(grid),
            "wrote": str(output),
            "questions": len(questions),
            "written_twice": again,
            "kept": kept,
            **counted.summary(),
            "seconds": pace.seconds,
            "questions_per_second": (pace.done - kept) / max(pace.seconds, 1e-9),
            "journal": str(journal.path) if failed else None,
            "limits_kept": counted.keeps_limits(questions),
            "columns": list(names),
        }


def _answer(
    questions: Sequence[Asked],
    journal: Journal,
    where: Where,
    pace: Pace,
    progress: Progress | None,
) -> int:
    """All that is not kept; how many failed."""
    waiting = [one for one in questions if one.id not in journal]
    for one in (one for one in waiting if one.values is None):
        _note(without(one, "refused", one.refusal or ""), journal, pace, progress)
    groups = chunks([one for one in waiting if one.values is not None], TOGETHER)
    if not groups:
        return 0
    try:
        answers = where.answers(groups)
        with contextlib.closing(answers):  # pyright: ignore[reportArgumentType]
            for reply in answers:
                _note(reply, journal, pace, progress)
    except KeyboardInterrupt:
        raise Interrupted(
            f"{pace.done:,} of {pace.total:,} answers are kept in {journal.path}; "
            "the same command goes on from there"
        ) from None
    return pace.failed


def _note(reply: Reply, journal: Journal, pace: Pace, progress: Progress | None) -> None:
    journal.add(reply)
    pace.count(reply.status)
    if progress:
        progress(pace.words, pace.done, pace.total)


class _Counted:
    """What became of the questions, counted while their rows are written."""

    def __init__(self) -> None:
        self.by_status: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.no_fit = self.within = 0

    def rows(
        self, questions: Sequence[Asked], fields: Sequence[str], journal: Journal
    ) -> Iterator[dict[str, Any]]:
        names = ["model", *(name for name in fields if name != "model")]
        for one in questions:
            row, document = journal.of(one.id)
            self._count(row)
            yield {**row, **asked_row(one, names), DOCUMENT: document}

    def _count(self, row: dict[str, Any]) -> None:
        self.by_status[row["status"]] += 1
        if row["status"] != "answered":
            self.reasons[row["error"]] += 1
            return
        self.no_fit += row["fits"] is False
        self.within += row["limits_broken"] is None

    def summary(self) -> dict[str, Any]:
        return {
            **{name: self.by_status[name] for name in ("answered", "refused", "failed")},
            "do_not_fit": self.no_fit,
            "reasons": [
                {"error": error, "questions": count}
                for error, count in self.reasons.most_common(MOST_REASONS)
            ],
        }

    def keeps_limits(self, questions: Sequence[Asked]) -> bool | None:
        """Whether some answer keeps the limits; None where none is set."""
        return self.within > 0 if any(map(has_limits, questions)) else None


def exit_code(summary: dict[str, Any]) -> int:
    """3 where the machine failed some question, 2 where none has an answer, 1 where no answer keeps
    the limits that were set, else 0."""
    if summary["failed"]:
        return 3
    if not summary["answered"]:
        return 2
    return 1 if summary["limits_kept"] is False else 0


def _check_alone(questions: Sequence[Asked], where: Where) -> None:
    """Operations are timed by one process at a time, on this machine."""
    timed = any((one.values or {}).get("exact") for one in questions)
    if timed and not (where.is_here and where.count == 1):
        raise QuestionError(
            "times operations on this machine's device, which others would disturb",
            where=FieldName("exact"),
            mend=f"Give {FieldName('processes')} 1",
        )


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
