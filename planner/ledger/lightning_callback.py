"""Kept for scripts written before the move: import ``planner.recording.lightning_callback`` instead."""

from planner.recording.lightning_callback import PlannerCallback  # noqa: F401
