"""Kept for scripts written before the move: import ``planner.recording.trainer_callback`` instead."""

from planner.recording.trainer_callback import PlannerCallback  # noqa: F401
