"""Checkpoints are written while the devices wait."""

from __future__ import annotations

from planner import units
from planner.figures import Estimate
from planner.plan.phases.course import Course, Phase
from planner.question import Question
from planner.uncertainty.spread import overhead


def saving(course: Course) -> Phase:
    return Phase(saving_hours(course.question, course.checkpoint_bytes, course.epochs))


def saving_hours(question: Question, checkpoint_bytes: float, epochs: float) -> Estimate:
    """Hours of all checkpoints of so many epochs; at least one where any is wanted."""
    saves = max(1.0, question.saves_per_epoch * epochs) if question.saves_per_epoch else 0.0
    speed = overhead("write_bytes_per_second")
    return Estimate(
        *(
            saves * checkpoint_bytes / rate / units.SECONDS_PER_HOUR
            for rate in (speed.p90, speed.p50, speed.p10)
        )
    )
