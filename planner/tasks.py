"""What a model can be trained on: rows of ``profiles/models/tasks.csv``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from planner import tables


@dataclass(frozen=True)
class Task:
    """``modality``: what a sample is. ``classes``: whether the question may name a number of
    classes. ``words``: in a sentence. ``runs``: the kind of measured runs that it is counted
    among."""

    name: str
    modality: str
    classes: bool
    words: str
    runs: str


@cache
def tasks() -> dict[str, Task]:
    """Every task by its name, in the table's order."""
    return {
        row["task"]: Task(
            row["task"], row["modality"], row["classes"] == "yes", row["words"], row["runs"]
        )
        for row in tables.rows("models", "tasks.csv")
    }


def modality_of(task: str) -> str:
    """What a sample of the task is; ``text`` for a task that the table does not hold."""
    row = tasks().get(task)
    return row.modality if row else "text"
