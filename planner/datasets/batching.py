"""Lengths become batches: what a random micro-batch pads to, computed from order statistics, not by
drawing batches."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from planner.errors import FieldName, QuestionError

# the longest share of the records whose mean excess is the scale of the extrapolated tail
TAIL_SHARE = 0.01
TAIL_RECORDS = 10  # and at least this many


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """How one epoch is cut into micro-batches. Lengths in tokens after truncation, None where there
    are no tokens.

    ``samples_per_epoch`` counts sequences when packed. ``longest_length`` is the longest batch that
    can occur (it sets the peak of memory), ``mean_padded_length`` the expected padded length of a
    full micro-batch (it sets the time). ``tokens_per_epoch`` are real tokens,
    ``padded_tokens_per_epoch`` what is computed on. ``truncated_share`` is the share of records
    that lose tokens. ``target_*`` are the same of an encoder-decoder's targets, ``*_seconds`` of
    audio. ``longest_is_extrapolated``: only a sample was read, and the longest is the expected
    longest of all records.
    """

    samples_per_epoch: int
    micro_batches_per_epoch: int
    longest_length: int | None = None
    mean_padded_length: float | None = None
    tokens_per_epoch: float | None = None
    padded_tokens_per_epoch: float | None = None
    truncated_share: float | None = None
    target_longest_length: int | None = None
    target_mean_padded_length: float | None = None
    target_tokens_per_epoch: float | None = None
    target_padded_tokens_per_epoch: float | None = None
    target_truncated_share: float | None = None
    longest_seconds: float | None = None
    mean_padded_seconds: float | None = None
    longest_is_extrapolated: bool = False

    @property
    def real_tokens_per_sample(self) -> float | None:
        """Mean real tokens of a sample (of a packed sequence: without what fills the last one),
        those of the target included; None where there are none."""
        return self._tokens_per_sample(self.tokens_per_epoch, self.target_tokens_per_epoch)

    @property
    def padded_tokens_per_sample(self) -> float | None:
        """The same with the padding of full micro-batches: what is computed on."""
        sides = (self.mean_padded_length, self.target_mean_padded_length)
        return sum(side or 0.0 for side in sides) if sides[0] is not None else None

    def _tokens_per_sample(self, inputs: float | None, targets: float | None) -> float | None:
        if inputs is None:
            return None
        return (inputs + (targets or 0.0)) / max(1, self.samples_per_epoch)


@dataclass(frozen=True, slots=True)
class PaddedLengths:
    """One of the lengths (inputs, targets, seconds) cut into micro-batches."""

    longest: float
    mean_padded: float
    real: float
    padded: float
    truncated_share: float


def expected_max(ordered: np.ndarray, draws: int, *, whole: bool) -> float:
    """Expected largest of ``draws`` records of ``ordered`` (ascending). Exact.

    With the whole dataset known the batch is drawn without replacement, P(max ≤ x_i) =
    C(i,n)/C(N,n), as a shuffled epoch does; from a sample of it with replacement, P(max ≤ x_i) =
    (i/N)^n.
    """
    count = len(ordered)
    if draws <= 1:
        return float(ordered.mean())
    rank = np.arange(1, count + 1, dtype=np.float64)
    if not whole:
        below = (rank / count) ** draws
    elif draws >= count:
        return float(ordered[-1])
    else:
        # C(i,n)/C(N,n) is the product over j = i+1..N of (j-n)/j, and 0 for i < n.
        with np.errstate(divide="ignore", invalid="ignore"):
            steps = np.where(rank > draws, np.log((rank - draws) / rank), -np.inf)
        below = np.exp(np.append(np.cumsum(steps[:0:-1])[::-1], 0.0))
    return float(np.dot(ordered, np.diff(below, prepend=0.0)))


def pad(
    lengths: np.ndarray,
    samples: int,
    micro_batch: int,
    limit: float | None,
    *,
    whole: bool,
    padding: str = "longest",
) -> PaddedLengths:
    """Pads each micro-batch to its longest record (``longest``) or to ``limit`` (``max``), in the
    unit of ``lengths``."""
    ordered = np.sort(lengths if limit is None else np.minimum(lengths, limit)).astype(np.float64)
    truncated = 0.0 if limit is None else float(np.mean(lengths > limit))
    real = float(ordered.mean()) * samples
    if padding == "max" and limit is not None:
        return PaddedLengths(
            longest=limit,
            mean_padded=float(limit),
            real=real,
            padded=float(limit) * samples,
            truncated_share=truncated,
        )
    size = min(micro_batch, samples)
    full, rest = divmod(samples, size)
    mean_padded = expected_max(ordered, size, whole=whole)
    padded = full * size * mean_padded + (
        rest * expected_max(ordered, rest, whole=whole) if rest else 0.0
    )
    return PaddedLengths(
        longest=longest(ordered, samples, limit, whole=whole),
        mean_padded=mean_padded,
        real=real,
        padded=padded,
        truncated_share=truncated,
    )


def longest(ordered: np.ndarray, samples: int, limit: float | None, *, whole: bool) -> float:
    """The longest record of all ``samples``. From a sample: the longest seen plus an exponential
    tail's growth, scale × ln(all/seen)."""
    seen = float(ordered[-1])
    if whole or samples <= len(ordered):
        return seen
    tail = min(len(ordered) - 1, max(TAIL_RECORDS, math.ceil(TAIL_SHARE * len(ordered))))
    scale = float(np.mean(ordered[-tail:] - ordered[-tail - 1])) if tail > 0 else 0.0
    guess = seen + scale * math.log(samples / len(ordered))
    return guess if limit is None else min(guess, float(limit))


def pack(lengths: np.ndarray, samples: int, max_length: int) -> tuple[int, PaddedLengths]:
    """All records one after the other, cut every ``max_length`` tokens: (sequences, lengths). No
    token is lost."""
    real = float(lengths.mean()) * samples
    sequences = max(1, math.ceil(real / max_length - 1e-9))
    return sequences, PaddedLengths(
        longest=max_length,
        mean_padded=float(max_length),
        real=real,
        padded=float(sequences * max_length),
        truncated_share=0.0,
    )


def check(micro_batch: int, padding: str, max_length: int | None, has_tokens: bool) -> None:
    """Raises QuestionError for a batch that makes no sense."""
    if micro_batch < 1:
        raise QuestionError(f"a micro-batch of {micro_batch} samples", mend="Give at least 1")
    if padding not in ("longest", "max", "packed"):
        raise QuestionError(f"unknown padding {padding!r}", mend="Use longest, max or packed")
    if max_length is not None and max_length < 1:
        raise QuestionError(f"a maximum length of {max_length} tokens", mend="Give at least 1")
    if padding != "longest" and has_tokens and max_length is None:
        raise QuestionError(
            f"padding {padding!r} needs a maximum length", mend=f"Give {FieldName('max_length')}"
        )
