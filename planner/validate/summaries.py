"""The statistics of accuracy: pure functions over pairs of a prediction and a measurement."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

#: What is compared: seconds of a step, seconds of its forward pass, the three memories and the
#: runtime's context in bytes; of whole runs the wall-clock hours and the dollars.
QUANTITIES = ("time", "forward", "allocated", "reserved", "device", "context", "hours", "usd")
#: What things are counted by: one word, or two.
Key = TypeVar("Key", str, tuple[str, str])


@dataclass(frozen=True)
class Comparison:
    """One predicted figure with its 80 % interval beside one measured figure, in one unit (seconds,
    bytes, hours or USD)."""

    case_id: str
    table: str
    quantity: str
    basis: str
    strategy: str
    gpu: str
    family: str
    modality: str
    split: str
    measured: float
    p10: float
    p50: float
    p90: float
    why: str = ""  # what the prediction rests on most
    assumed: str = ""  # what the run leaves open
    model: str = ""

    @property
    def relative_error(self) -> float:
        """|predicted − measured| / measured."""
        return abs(self.p50 - self.measured) / self.measured

    @property
    def log_ratio(self) -> float:
        """ln(predicted / measured): positive where the planner says too much. −inf where it says
        nothing at all."""
        return math.log(self.p50 / self.measured) if self.p50 > 0 else -math.inf

    @property
    def covered(self) -> bool:
        return self.p10 <= self.measured <= self.p90


@dataclass(frozen=True)
class ErrorSummary:
    """n, the absolute relative errors, the signed bias (median of ln(predicted/measured)) and the
    80 % intervals' coverage."""

    count: int
    median: float
    p90: float
    worst: float
    worst_case: str
    bias_log: float
    coverage: float

    @property
    def bias_percent(self) -> float:
        return 100 * math.expm1(self.bias_log) if math.isfinite(self.bias_log) else -100.0


@dataclass(frozen=True)
class Verdict:
    """Whether a run fitted and whether the planner said so. ``fits`` None: the planner gave no
    verdict."""

    case_id: str
    table: str
    ran_out: bool
    fits: bool | None


@dataclass(frozen=True)
class VerdictSummary:
    """``false_fits``: ran out of memory but called fitting (must be none). ``false_refusals``: ran
    but called not fitting."""

    ran: int
    ran_out: int
    false_fits: tuple[str, ...]
    false_refusals: tuple[str, ...]
    no_verdict: int

    @property
    def false_refusal_share(self) -> float | None:
        return len(self.false_refusals) / self.ran if self.ran else None


def quantile(values: Iterable[float], share: float) -> float:
    """The ``share`` quantile, linear between order statistics. Raises ValueError for no values."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values")
    place = share * (len(ordered) - 1)
    low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
    return low if low == high else low + (high - low) * (place - math.floor(place))


def summarise(comparisons: Iterable[Comparison]) -> ErrorSummary | None:
    """The summary of one group, None for an empty one."""
    group = list(comparisons)
    if not group:
        return None
    worst = max(group, key=lambda c: (c.relative_error, c.case_id))
    errors = [c.relative_error for c in group]
    return ErrorSummary(
        count=len(group),
        median=statistics.median(errors),
        p90=quantile(errors, 0.9),
        worst=worst.relative_error,
        worst_case=worst.case_id,
        bias_log=statistics.median(c.log_ratio for c in group),
        coverage=sum(c.covered for c in group) / len(group),
    )


def by(comparisons: Iterable[Comparison], *keys: str) -> dict[tuple[str, ...], ErrorSummary]:
    """Summaries of the groups that share the attributes ``keys``, in sorted order."""
    groups: dict[tuple[str, ...], list[Comparison]] = {}
    for comparison in comparisons:
        groups.setdefault(tuple(str(getattr(comparison, key)) for key in keys), []).append(
            comparison
        )
    found = {key: summarise(groups[key]) for key in sorted(groups)}
    return {key: summary for key, summary in found.items() if summary is not None}


def judge(verdicts: Iterable[Verdict]) -> VerdictSummary:
    """How often "fits" and "does not fit" were right."""
    group = list(verdicts)
    return VerdictSummary(
        ran=sum(not v.ran_out for v in group),
        ran_out=sum(v.ran_out for v in group),
        false_fits=tuple(sorted(v.case_id for v in group if v.ran_out and v.fits is True)),
        false_refusals=tuple(sorted(v.case_id for v in group if not v.ran_out and v.fits is False)),
        no_verdict=sum(v.fits is None for v in group),
    )


def count_by(items: Iterable[Any], key: Callable[[Any], Key]) -> list[tuple[Key, int]]:
    """How often each value of ``key`` occurs, most frequent first, ties by name."""
    return sorted(
        Counter(key(item) for item in items).items(), key=lambda pair: (-pair[1], pair[0])
    )
