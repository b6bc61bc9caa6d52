"""Runs beyond the one that is kept: a search over hyperparameters, and runs that fail."""

from __future__ import annotations

from planner.errors import FieldName, QuestionError
from planner.figures import Estimate
from planner.uncertainty.spread import overhead


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
