"""Recipe: every choice that changes a step trace, and nothing else. The key of the trace cache with
the model's fingerprint and the library versions. No torch here: the fast path builds recipes too.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """How one micro-batch is trained. ``lora_*`` are None unless the strategy uses them, so that
    equal work has an equal key."""

    strategy: str  # one of question.TRAINING_STRATEGIES; ``scratch`` is traced as ``fine_tune``
    task: str
    precision: str  # fp32 | tf32 | fp16 | bf16 | amp_fp16 | amp_bf16
    optimizer: str
    gradient_checkpointing: str = "none"  # none | full | selective
    attention: str = "sdpa"  # eager | sdpa | flash
    compile: bool = False
    classes: int | None = None
    image_size: int | None = None
    # length of a raw waveform, where the model's lengths are not linear in it
    audio_samples: int | None = None
    lora_rank: int | None = None
    lora_targets: tuple[str, ...] | None = None  # None: every linear layer but the head
    lora_dropout: float | None = None
    unfrozen_blocks: int | None = None
    teacher: str | None = None  # fingerprint of the teacher
    # feature_extraction: "cached" traces the head on cached features; "features" the forward pass
    # that makes them
    variant: str | None = None

    def as_dict(self) -> dict:
        return {key: value for key, value in dataclasses.asdict(self).items() if value is not None}

    def key(self) -> str:
        """A short hash of the choices, the same on every machine."""
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()[:16]
