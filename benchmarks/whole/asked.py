"""A report as a question to the planner, or why it is none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Asked:
    """A question's fields, or why there are none. ``assumed`` says what the row leaves open and how
    it was filled; ``missing`` what it lacks, or what the planner has no words for."""

    fields: dict[str, Any] = field(default_factory=dict)
    assumed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    modality: str = "other"
    judges_memory: bool = True

    @property
    def askable(self) -> bool:
        return not self.missing
