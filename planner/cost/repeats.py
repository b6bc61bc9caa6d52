"""Runs beyond the one that is kept: a search over hyperparameters, runs that fail, and what else a
project pays beside its run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from planner import tables
from planner.errors import FieldName, ProfileError, QuestionError
from planner.figures import Estimate
from planner.uncertainty.spread import overhead


@lru_cache(maxsize=256)
def extra_runs(trials: int, failed_share: float) -> Estimate:
    """Whole runs' worth of time beyond one: ``trials`` − 1 more that succeed, and for each of the
    ``trials`` the f/(1−f) failures that come before a success, each lost at a random moment. Raises
    QuestionError."""
    if trials < 1 or not 0 <= failed_share < 1:
        raise QuestionError(
            "trials are at least 1 and the share that fails is below 1",
            where=FieldName("trials", "failed_share"),
        )
    failures = trials * failed_share / (1 - failed_share)
    return Estimate.exact(trials - 1.0) + overhead("paid_before_failure").scale(failures)


@dataclass(frozen=True)
class Habits:
    """What a project does beside its run: runs that succeed, the share of all that fails, hours of
    the devices before the first goes through, the share of paid hours in which nothing runs."""

    trials: int
    failed_share: float
    debug_hours: float
    idle_share: float

    def usd(self, run_usd: float, usd_per_hour: float, fixed_usd: float) -> float:
        """Of the whole project. ``usd_per_hour``: of all its devices; ``fixed_usd``: what no number
        of runs changes."""
        runs = 1.0 + extra_runs(self.trials, self.failed_share).p50
        worked = run_usd * runs + usd_per_hour * self.debug_hours
        return worked / (1.0 - self.idle_share) + fixed_usd

    def parts(self, run_usd: float, usd_per_hour: float) -> dict[str, tuple[float, float]]:
        """What ``usd`` is made of beside what is fixed: (quantity, USD) of the run, of further
        trials, of failed runs, of hours of debugging and of the share in which nothing runs."""
        failed = extra_runs(self.trials, self.failed_share).p50 - (self.trials - 1)
        parts = {
            "run": (1.0, run_usd),
            "trials": (self.trials - 1.0, (self.trials - 1.0) * run_usd),
            "failed_share": (failed, failed * run_usd),
            "debug_hours": (self.debug_hours, self.debug_hours * usd_per_hour),
        }
        worked = sum(usd for _, usd in parts.values())
        idle = worked * self.idle_share / (1.0 - self.idle_share)
        return parts | {"idle_share": (self.idle_share, idle)}


@lru_cache(maxsize=256)
def habits(trials: int | None = None, failed_share: float | None = None) -> tuple[Habits, Habits]:
    """(few, many), as published projects report and as our priors have it
    (``profiles/defaults/project.csv``); what is given holds in both. Raises ProfileError."""
    few, many = (
        Habits(
            trials=int(_habit("trials", side)) if trials is None else trials,
            failed_share=_habit("failed_share", side) if failed_share is None else failed_share,
            debug_hours=_habit("debug_hours", side),
            idle_share=_habit("idle_share", side),
        )
        for side in ("low", "high")
    )
    return few, many


def _habit(key: str, side: str) -> float:
    for row in tables.rows("defaults", "project.csv"):
        if row["key"] == key:
            return float(row[side])
    raise ProfileError(f"no row {key!r}", where="profiles/defaults/project.csv")
