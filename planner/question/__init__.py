"""What is asked: ``Question``, its fields for flags and forms, ``project.yaml``."""

from planner.question.question import (
    ALL_STRATEGIES,
    PAID_STRATEGIES,
    TRAINING_STRATEGIES,
    Question,
)

__all__ = [
    "ALL_STRATEGIES",
    "PAID_STRATEGIES",
    "TRAINING_STRATEGIES",
    "Question",
]
