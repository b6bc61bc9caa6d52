"""The limits of a question, ``max_usd``, ``max_hours`` and ``deadline``: what they leave, whether a
figure keeps them, by how much and how surely."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from planner.figures import Estimate
from planner.question import Question
from planner.today import as_of
from planner.units import SECONDS_PER_HOUR


@dataclass(frozen=True)
class Allowed:
    """What is left of dollars and of wall-clock hours, None without a limit; negative for what is
    over."""

    usd: float | None = None
    hours: float | None = None

    def keeps(self, usd: float, hours: float) -> bool:
        """Whether medians do."""
        return (self.usd is None or usd <= self.usd) and (self.hours is None or hours <= self.hours)

    @property
    def is_set(self) -> bool:
        return self.usd is not None or self.hours is not None


@dataclass(frozen=True)
class Limit:
    """A limit beside the figure that it is for. ``field``: of the question; ``allowed`` and
    ``used`` in USD or hours; ``runs``: how many such runs it pays or leaves time for, None where
    that cannot be said."""

    field: str
    allowed: float
    used: Estimate
    runs: int | None

    @property
    def kept(self) -> bool:
        return self.used.p50 <= self.allowed

    @property
    def chance_kept(self) -> float:
        return 1.0 - self.used.chance_above(self.allowed)

    def as_dict(self) -> dict[str, Any]:
        return {
            "limit": self.field,
            "allowed": self.allowed,
            "used": self.used.as_dict(),
            "kept": self.kept,
            "left": self.allowed - self.used.p50,
            "chance_kept": self.chance_kept,
            "runs": self.runs,
        }


def allowed(
    question: Question, *, fixed_usd: float = 0.0, now: datetime.datetime | None = None
) -> Allowed:
    """What the question leaves to a training beside ``fixed_usd`` that are spent anyway."""
    usd = None if question.max_usd is None else question.max_usd - fixed_usd
    return Allowed(usd, hours_allowed(question, now=now))


def licence_problem(licences: Sequence[str] | None, licence: str | None) -> str | None:
    """Why a model may not be taken under ``licences``; None where it may. A model of unknown
    licence may not."""
    if (
        licences is None
        or licence is not None
        and licence.lower() in {name.lower() for name in licences}
    ):
        return None
    return f"licences {', '.join(licences)}: the model's is {licence or 'not known'}"


def hours_allowed(question: Question, *, now: datetime.datetime | None = None) -> float | None:
    """Wall-clock hours that ``max_hours`` and ``deadline`` leave; None without either, negative for
    a deadline that has passed."""
    left = None if question.deadline is None else hours_left(question.deadline, now)
    return min((hours for hours in (question.max_hours, left) if hours is not None), default=None)


def hours_left(moment: datetime.datetime, now: datetime.datetime | None = None) -> float:
    """A deadline without a zone is local time, as a person would mean it."""
    start = now or as_of()
    return (
        moment.astimezone(datetime.UTC) - start.astimezone(datetime.UTC)
    ).total_seconds() / SECONDS_PER_HOUR


def limits_of(
    question: Question,
    *,
    usd: Estimate | None,
    fixed_usd: float,
    wall_hours: Estimate | None,
    now: datetime.datetime | None = None,
) -> list[Limit]:
    """Each limit that the question sets and the figures are known for. ``usd``: all that the limit
    is held against, for the question's trials; ``fixed_usd``: of it, what no number of runs
    changes."""
    found: list[Limit] = []
    if question.max_usd is not None and usd is not None:
        each = (usd.p50 - fixed_usd) / question.trials
        runs = _whole_runs(question.max_usd - fixed_usd, each)
        found.append(Limit("max_usd", question.max_usd, usd, runs))
    if wall_hours is None:
        return found
    for name, left in (
        ("max_hours", question.max_hours),
        (
            "deadline",
            None if question.deadline is None else hours_left(question.deadline, now),
        ),
    ):
        if left is not None:
            found.append(Limit(name, left, wall_hours, _whole_runs(left, wall_hours.p50)))
    return found


def _whole_runs(amount: float, each: float) -> int | None:
    return max(0, math.floor(amount / each)) if each > 0 else None
