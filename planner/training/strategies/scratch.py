"""Training from scratch: a step is full fine-tuning's, from random weights; what differs is how
many steps are enough."""

from __future__ import annotations

from planner.training.strategies.fine_tune import apply
from planner.training.strategy import Strategy

STRATEGY = Strategy(
    "scratch", "training from scratch", "every weight, from random values", apply, order=70
)
