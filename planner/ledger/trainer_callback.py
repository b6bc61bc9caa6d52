"""Kept for one release, for scripts from before the move: import
``planner.recording.trainer_callback`` instead."""

import importlib

PlannerCallback = importlib.import_module("planner.recording.trainer_callback").PlannerCallback
