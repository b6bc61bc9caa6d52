"""Counts over comparisons: how far, how often near, to which side, how often inside the range."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.whole.outcome import Comparison, Outcome


@dataclass(frozen=True)
class Total:
    """Of ``n`` comparisons: the median of the absolute errors, the share within 30 %, the signed
    bias (the median ratio less one) and the share whose report lies between p10 and p90."""

    name: str
    n: int
    median_error: float
    within: float
    bias: float
    covered: float


def total(name: str, comparisons: Sequence[Comparison]) -> Total | None:
    """None where there is nothing to count."""
    if not comparisons:
        return None
    n = len(comparisons)
    return Total(
        name=name,
        n=n,
        median_error=statistics.median(abs(c.error) for c in comparisons),
        within=sum(c.met for c in comparisons) / n,
        bias=math.exp(statistics.median(c.log_ratio for c in comparisons)) - 1,
        covered=sum(c.covered for c in comparisons) / n,
    )


def by(
    outcomes: Iterable[Outcome],
    quantity: Callable[[Outcome], Comparison | None],
    key: Callable[[Outcome], str],
) -> list[Total]:
    """A total a group, the largest first; groups without a comparison are left out."""
    groups: dict[str, list[Comparison]] = {}
    for outcome in outcomes:
        if (comparison := quantity(outcome)) is not None:
            groups.setdefault(key(outcome), []).append(comparison)
    found = [made for name, group in groups.items() if (made := total(name, group))]
    return sorted(found, key=lambda made: (-made.n, made.name))


def largest(outcomes: Iterable[Outcome], many: int) -> list[Outcome]:
    """The misses of trusted reports that are farthest off in hours, by their ratio."""
    missed = [o for o in outcomes if o.report.trusted and o.hours and not o.hours.met]
    return sorted(missed, key=lambda o: -abs(o.hours.log_ratio if o.hours else 0.0))[:many]
