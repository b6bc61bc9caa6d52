"""Texts of which a part of the batches is written anew: the prompts stay, and so many tokens follow
in the place of the data's own answers. A batch is of one sort or the other."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from planner.datasets.batching import BatchPlan
from planner.datasets.profile import DatasetProfile


@dataclass(frozen=True, eq=False)
class MixedProfile(DatasetProfile):
    """``written_share`` of the batches are prompts of the lengths ``written_prompts`` (the longest
    of all ``longest_prompt``, where it is known apart), with ``written_tokens`` behind each."""

    written_share: float = 0.0
    written_prompts: np.ndarray | None = None
    written_tokens: int = 0
    longest_prompt: float | None = None

    def batches(self, micro_batch: int, **how: Any) -> BatchPlan:
        """As of other data: the longest batch of either sort, means over both."""
        own = super().batches(micro_batch, **how)
        if not self.written_share or self.written_prompts is None:
            return own
        prompts = self.prompt_batches(micro_batch, **how)
        tokens = self.written_tokens
        assert prompts.longest_length is not None and own.longest_length is not None
        written = replace(
            prompts,
            longest_length=prompts.longest_length + tokens,
            mean_padded_length=(prompts.mean_padded_length or 0.0) + tokens,
            tokens_per_epoch=(prompts.tokens_per_epoch or 0.0) + tokens * self.samples,
            padded_tokens_per_epoch=(prompts.padded_tokens_per_epoch or 0.0)
            + tokens * self.samples,
        )
        longest = max(written.longest_length or 0, own.longest_length)
        share = self.written_share
        means = {
            name: (1 - share) * getattr(own, name) + share * getattr(written, name)
            for name in (
                *("mean_padded_length", "tokens_per_epoch", "padded_tokens_per_epoch"),
                "truncated_share",
            )
        }
        if share == 1.0:
            longest = math.ceil(written.longest_length or 0)
        return replace(own, longest_length=longest, **means)

    def prompt_batches(self, micro_batch: int, **how: Any) -> BatchPlan:
        """Of the prompts that are written to."""
        return self._prompts.batches(micro_batch, **how)

    @property
    def _prompts(self) -> DatasetProfile:
        return DatasetProfile(
            self.modality,
            self.samples,
            lengths=self.written_prompts,
            sampled=self.sampled,
            longest_input=self.longest_prompt,
            source=self.source,
        )
