"""What is asked: ``Question``, its fields for flags and forms, ``project.yaml``."""

from planner.question.question import Question
from planner.question.what import (
    ALL_STRATEGIES,
    PAID_STRATEGIES,
    TRAINING_STRATEGIES,
)

__all__ = [
    "ALL_STRATEGIES",
    "PAID_STRATEGIES",
    "TRAINING_STRATEGIES",
    "Question",
]
