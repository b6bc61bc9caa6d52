"""What a data loader does to a sample after it was read: stages, one after the other, and joining
into a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Stage:
    """``run``: a sample before → after. ``per``: the unit its cost grows with. ``amount``, of its
    result: that many units."""

    name: str
    per: str
    library: str
    run: Callable[[Any], Any]
    amount: Callable[[Any], float] | None = None


@dataclass(frozen=True)
class Pipeline:
    """``amount`` of what was read, for data whose units no stage tells. ``doubts``: (what, how to
    mend it)."""

    unit: str
    stages: tuple[Stage, ...]
    amount: Callable[[Any], float] | None = None
    notes: tuple[str, ...] = ()
    doubts: tuple[tuple[str, str], ...] = ()


def collate(samples: list[Any]) -> Any:
    """A batch: stacked where all have one shape, else padded to the longest; lists of ids become
    tensors; texts stay a list."""
    import torch
    from torch.nn.utils.rnn import pad_sequence
    from torch.utils.data import default_collate

    if isinstance(samples[0], list):
        if any(isinstance(item, str) for sample in samples for item in sample[:1]):
            return samples
        samples = [torch.tensor(ids, dtype=torch.long) for ids in samples]
    if len({sample.shape for sample in samples}) == 1:
        return default_collate(samples)
    return pad_sequence(samples, batch_first=True)
