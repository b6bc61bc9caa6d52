"""Lengths become batches: what a random micro-batch pads to, computed from order statistics, not by
drawing batches. Lengths that only a mean is known of are log-normal, with the spread of published
sets of their kind; quantiles stand for them, so that they are cut and batched as counted ones."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from statistics import NormalDist

import numpy as np

from planner import tables
from planner.datasets.by_array import kept_by_array
from planner.errors import FieldName, ProfileError, QuestionError

# the longest share of the records whose mean excess is the scale of the extrapolated tail
TAIL_SHARE = 0.01
TAIL_RECORDS = 10  # and at least this many
#: Quantiles that stand for a distribution.
POINTS = 2048
#: Trainer's sampler that groups by length sorts so many times the samples of a step together, but
#: no more than leave so many such parts of the data (transformers@5.23 trainer_pt_utils.py:
#: get_length_grouped_indices).
SORTED_STEPS, LEAST_PARTS = 50, 4
#: How many standard deviations of a count are looked at, and how many counts at once.
_SURE, _AT_ONCE = 10, 2**21
#: The samples of a batch one after the other, without padding.
FREE = "free"
ANY_TASK = "any task"
_HALVINGS = 80


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
    longest of all records. ``targets_per_sample``: texts of the target's length beside each input,
    such as a positive and its hard negatives; the tokens of an epoch are of all of them.
    ``inputs_per_sample``: inputs that are padded to one length, such as both halves of a pair.
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
    targets_per_sample: int = 1
    inputs_per_sample: int = 1

    @property
    def real_tokens_per_sample(self) -> float | None:
        """Mean real tokens of a sample (of a packed sequence: without what fills the last one),
        those of the target included; None where there are none."""
        return self._tokens_per_sample(self.tokens_per_epoch, self.target_tokens_per_epoch)

    @property
    def padded_tokens_per_sample(self) -> float | None:
        """The same with the padding of full micro-batches: what is computed on."""
        if self.mean_padded_length is None:
            return None
        targets = self.targets_per_sample * (self.target_mean_padded_length or 0.0)
        return self.inputs_per_sample * self.mean_padded_length + targets

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


def cut_mean(lengths: np.ndarray, limit: float | None) -> float:
    """Mean length, in tokens, of records that are cut at ``limit``."""
    return float((lengths if limit is None else np.minimum(lengths, limit)).mean())


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


@kept_by_array
def pad(
    lengths: np.ndarray,
    samples: int,
    micro_batch: int,
    limit: float | None,
    *,
    whole: bool,
    padding: str = "longest",
    most: float | None = None,
    step: int | None = None,
) -> PaddedLengths:
    """Pads each micro-batch to its longest record (``longest``) or to ``limit`` (``max``), in the
    unit of ``lengths``, or not at all (``free``): a micro-batch is then as long as its mean.
    ``most``: the longest of all samples, where it is known apart. ``step``: records are grouped by
    length, with so many samples of a device in a step."""
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
    top = (
        longest(ordered, samples, limit, whole=whole)
        if most is None
        else min(most, math.inf if limit is None else float(limit))
    )
    if padding == FREE:
        top = top if size == 1 else _longest_mean(ordered, samples, size, top)
        return PaddedLengths(top, real / samples, real, real, truncated)
    mean_padded, padded = (
        _shuffled(ordered, samples, size, whole=whole)
        if step is None
        else _grouped(ordered, samples, size, step, whole=whole)
    )
    return PaddedLengths(
        longest=top,
        mean_padded=mean_padded,
        real=real,
        padded=padded,
        truncated_share=truncated,
    )


def _longest_mean(ordered: np.ndarray, samples: int, size: int, top: float) -> float:
    """Expected largest mean of ``size`` records over an epoch's micro-batches, of records that are
    drawn with replacement: sums' chances are the records' own, folded ``size`` times. ``top``: the
    longest record."""
    unit = max(1.0, top / POINTS)
    shares = np.bincount(np.minimum(np.ceil(ordered / unit), POINTS).astype(int)) / len(ordered)
    width = size * (len(shares) - 1) + 1
    folded = np.fft.irfft(np.fft.rfft(shares, 2 * width) ** size, 2 * width)[:width]
    below = np.clip(np.cumsum(folded), 0.0, 1.0) ** max(1, samples // size)
    return min(top, float(np.sum(1.0 - below)) * unit / size)


def _shuffled(ordered: np.ndarray, samples: int, size: int, *, whole: bool) -> tuple[float, float]:
    """(expected padded length of a full micro-batch, what an epoch computes on)."""
    full, rest = divmod(samples, size)
    mean = expected_max(ordered, size, whole=whole)
    last = rest * expected_max(ordered, rest, whole=whole) if rest else 0.0
    return mean, full * size * mean + last


def _grouped(
    ordered: np.ndarray, samples: int, size: int, step: int, *, whole: bool
) -> tuple[float, float]:
    """As ``_shuffled`` where a shuffled epoch is cut into parts that are sorted before they are cut
    into micro-batches. That the longest record of all is moved to the first batch is left out: it
    changes two batches."""
    step = size * math.ceil(step / size)
    part = step * max(1, min(samples // (step * LEAST_PARTS), SORTED_STEPS))
    parts, rest = divmod(samples, part)
    padded, full, all_full = 0.0, 0.0, 0
    for times, records in ((parts, part), (1 if rest else 0, rest)):
        if not times:
            continue
        sorted_full, last = _of_part(ordered, samples, records, size, whole=whole)
        many, left = divmod(records, size)
        full, all_full = full + times * many * sorted_full, all_full + times * many
        padded += times * (many * size * sorted_full + left * last)
    return full / all_full, padded


def _of_part(
    ordered: np.ndarray, samples: int, records: int, size: int, *, whole: bool
) -> tuple[float, float]:
    """(mean padded length of the full micro-batches of a sorted part, that of the shorter one left
    over, whose records are the shortest), expected. Exact for up to ``POINTS`` distinct lengths:
    how many records of a part are at most so long is drawn as from an urn, with the whole data set
    known without putting back."""
    values, counts = np.unique(_thinned(ordered), return_counts=True)
    share = np.cumsum(counts) / counts.sum()
    full = np.empty(len(values))
    left = np.empty(len(values))
    many = records // size
    for rows, drawn, chance in _draws(share, samples, records, whole=whole):
        longer = np.ceil((records - drawn) / size)  # batches that hold a longer record
        full[rows] = (chance * (many - np.minimum(longer, many))).sum(axis=1)
        left[rows] = (chance * (longer <= many)).sum(axis=1)
    mean = float(np.dot(values, np.diff(full / max(many, 1), prepend=0.0)))
    return mean, float(np.dot(values, np.diff(left, prepend=0.0)))


def _thinned(ordered: np.ndarray) -> np.ndarray:
    """Quantiles in the middle of equal shares, where there are more distinct lengths."""
    if len(np.unique(ordered)) <= POINTS:
        return ordered
    return ordered[((np.arange(POINTS) + 0.5) * len(ordered) / POINTS).astype(int)]


def _draws(
    share: np.ndarray, samples: int, records: int, *, whole: bool
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Of rows of ``share``, the share of all records that is at most so long: (rows, numbers of
    such records among ``records`` [rows, width], their chances)."""
    kept = whole and records <= samples
    most = samples if kept else records
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, most + 1)))])
    width = 2 * math.ceil(_SURE * math.sqrt(records) / 2) + 3
    rows = max(1, _AT_ONCE // width)
    for start in range(0, len(share), rows):
        part = share[start : start + rows, None]
        drawn = np.round(records * part) + np.arange(width)[None, :] - width // 2
        chance = (
            _without_putting_back(logs, drawn, np.round(part * samples), samples, records)
            if kept
            else _putting_back(logs, drawn, part, records)
        )
        yield (
            slice(start, start + rows),
            np.clip(drawn, 0, records),
            chance / chance.sum(axis=1, keepdims=True),
        )


def _putting_back(
    logs: np.ndarray, drawn: np.ndarray, share: np.ndarray, records: int
) -> np.ndarray:
    """The binomial chance of ``drawn``, up to a factor."""
    there = (drawn >= 0) & (drawn <= records)
    few = np.clip(drawn, 0, records).astype(int)
    with np.errstate(divide="ignore", invalid="ignore"):
        rest = np.where(few == records, 0.0, (records - few) * np.log1p(-share))
        log = few * np.log(share) + rest - logs[few] - logs[records - few]
    return _chances(log, there)


def _without_putting_back(
    logs: np.ndarray, drawn: np.ndarray, short: np.ndarray, samples: int, records: int
) -> np.ndarray:
    """The hypergeometric chance of ``drawn`` of the ``short`` of ``samples``, up to a factor."""
    there = (drawn >= np.maximum(0, records - (samples - short))) & (
        drawn <= np.minimum(records, short)
    )
    few = np.where(there, drawn, np.minimum(records, short)).astype(int)
    short, others = short.astype(int), (samples - short).astype(int)
    log = -(logs[few] + logs[short - few] + logs[records - few] + logs[others - (records - few)])
    return _chances(log, there)


def _chances(log: np.ndarray, there: np.ndarray) -> np.ndarray:
    highest = log.max(axis=1, where=there, initial=-np.inf, keepdims=True)
    return np.where(there, np.exp(np.where(there, log - highest, 0.0)), 0.0)


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
    if padding not in ("longest", "max", "packed", FREE):
        raise QuestionError(f"unknown padding {padding!r}", mend="Use longest, max, packed or free")
    if max_length is not None and max_length < 1:
        raise QuestionError(f"a maximum length of {max_length} tokens", mend="Give at least 1")
    if padding not in ("longest", FREE) and has_tokens and max_length is None:
        raise QuestionError(
            f"padding {padding!r} needs a maximum length", mend=f"Give {FieldName('max_length')}"
        )


@dataclass(frozen=True)
class Spread:
    """``sigma_log``: standard deviation of the logarithm of the lengths; ``source``: whose."""

    sigma_log: float
    source: str


@cache
def published_spread(task: str, side: str = "input") -> Spread:
    """The median of the published sets of a task, of all where it has none. ``side`` input or
    target. Raises ProfileError."""
    rows = [row for row in tables.rows("datasets", "length_spread.csv") if row["side"] == side]
    own = [row for row in rows if row["task"] == task] or rows
    if not own:
        raise ProfileError(f"no spread of {side}s", where="profiles/datasets/length_spread.csv")
    name = task if own[0]["task"] == task else ANY_TASK
    sigma = statistics.median(float(row["sigma_log"]) for row in own)
    many = f"median of {len(own)} published sets" if len(own) > 1 else "a published set"
    return Spread(sigma, f"{many} of {name}")


def quantile(mean: float, spread: Spread, share: float) -> float:
    """Of a log-normal of this mean and spread, in the unit of the mean."""
    sigma = spread.sigma_log
    return mean * math.exp(sigma * NormalDist().inv_cdf(share) - sigma**2 / 2)


@lru_cache(maxsize=64)
def spread_lengths(
    mean: float, sigma_log: float, samples: int, limit: float | None
) -> tuple[np.ndarray, float]:
    """(lengths, the longest of all ``samples``) in tokens: float64 quantiles of a log-normal cut at
    ``limit`` and at one token, whose mean is ``mean``. A mean at or above the limit leaves nothing
    to spread: one length."""
    most = math.inf if limit is None else float(limit)
    if sigma_log <= 0 or samples < 2 or mean <= 1 or mean >= most:
        return np.array([max(1.0, mean)]), max(1.0, mean)
    count = min(samples, POINTS)
    normal = NormalDist()
    scores = np.array([normal.inv_cdf((i + 0.5) / count) for i in range(count)])
    shape = np.exp(sigma_log * scores)
    scale = _scale(shape, mean, most)
    longest = scale * math.exp(sigma_log * normal.inv_cdf(1 - 0.5 / samples))
    return np.clip(scale * shape, 1.0, most), float(min(max(longest, 1.0), most))


def _scale(shape: np.ndarray, mean: float, most: float) -> float:
    """What ``shape`` is multiplied with so that the cut lengths have the mean: by halving, as the
    mean grows with it."""
    low, high = 0.0, mean / float(shape.min())
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if float(np.clip(middle * shape, 1.0, most).mean()) < mean:
            low = middle
        else:
            high = middle
    return high
