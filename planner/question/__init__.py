"""What is asked: ``Question``, its fields for flags and forms, ``project.yaml``."""

from planner.question.question import (
    ALL_STRATEGIES,
    OPTIMIZER_ALIASES,
    PAID_STRATEGIES,
    TRAINING_STRATEGIES,
    Optimizer,
    Question,
)

__all__ = [
    "ALL_STRATEGIES",
    "OPTIMIZER_ALIASES",
    "PAID_STRATEGIES",
    "TRAINING_STRATEGIES",
    "Optimizer",
    "Question",
]
