"""The rows of ``profiles/measured/families.csv``, asked."""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from planner import tables
from planner.plan.steps.point import PointResult
from planner.question.stack import stack_of
from planner.validate.cases import Case, from_rows
from planner.validate.judge import ask, outcome
from planner.validate.summaries import Comparison

#: Columns of the general table that these rows leave out.
LEFT_OUT = {"oom": "0", "forward_seconds": ""}
#: A training loop of nobody's library, and the length of a year with its month in a date.
LOOP, MONTH = "loop", len("2021-07")


@dataclass(frozen=True)
class Judged:
    """What the planner said of a case, or why it said nothing."""

    case: Case
    compared: tuple[Comparison, ...]
    refused: str | None


@dataclass(frozen=True)
class Summary:
    """Errors of one quantity over some comparisons: shares of the measured figure."""

    count: int
    median: float
    bias: float  # median of the signed errors
    worst: float
    covered: int  # within the 80 % interval


def cases() -> list[Case]:
    """The rows in their order. Raises ProfileError where the table cannot be read."""
    return list(from_rows({**LEFT_OUT, **row} for row in tables.rows("measured", "families.csv")))


def judge(case: Case) -> Judged:
    with tempfile.TemporaryDirectory() as folder:
        found = outcome(case, Path(folder), _of_its_day, sharded_as_ddp=True)
    refused = found.refused.reason if found.refused is not None else None
    return Judged(case, found.comparisons, refused)


def _of_its_day(case: Case, folder: Path) -> PointResult:
    """With what autograd kept on the day of a row that names one."""
    stack = stack_of(f"{LOOP}-{case.date[:MONTH]}") if case.date else None
    return ask(case, folder, stack=stack)


def to_plain(item: Judged) -> dict[str, Any]:
    """For a file of answers."""
    return {"compared": [asdict(c) for c in item.compared], "refused": item.refused}


def from_plain(case: Case, plain: dict[str, Any]) -> Judged:
    compared = tuple(Comparison(**c) for c in plain["compared"])
    return Judged(case, compared, plain["refused"])


def error(found: Comparison) -> float:
    """(ours - measured) / measured."""
    return found.p50 / found.measured - 1


def summary(found: Iterable[Comparison]) -> Summary | None:
    items = list(found)
    if not items:
        return None
    errors = [error(c) for c in items]
    return Summary(
        count=len(items),
        median=statistics.median(abs(e) for e in errors),
        bias=statistics.median(errors),
        worst=max(errors, key=lambda e: abs(math.log1p(e))),
        covered=sum(c.p10 <= c.measured <= c.p90 for c in items),
    )


def by_task(judged: Iterable[Judged]) -> Iterator[tuple[str, list[Judged]]]:
    """The rows of each task, tasks in the order of their first row."""
    groups: dict[str, list[Judged]] = {}
    for item in judged:
        groups.setdefault(item.case.task, []).append(item)
    yield from groups.items()
