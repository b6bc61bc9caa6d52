"""Recipe: every choice that changes a step trace, and nothing else. The key of the trace cache with
the model's fingerprint and the library versions. No torch here: the fast path builds recipes too.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from planner.question.setup import TracedSettings, traced_values


@dataclass(frozen=True)
class Recipe(TracedSettings):
    """How one micro-batch is trained. What its strategy or task does not use is None, so that equal
    work has an equal key; ``scratch`` is traced as ``fine_tune``."""

    def as_dict(self) -> dict[str, Any]:
        return {name: value for name, value in traced_values(self).items() if value is not None}

    def key(self) -> str:
        """A short hash of the choices, the same on every machine."""
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()[:16]
