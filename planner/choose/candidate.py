"""A placement at an offer: a way that can be rented, with its hours and its dollars."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from planner.answer.limits import hours_allowed
from planner.cost.bill import Bill
from planner.cost.prices.offers import Offer
from planner.parallel.plan import ParallelPlan
from planner.plan.placement.place import Placement
from planner.plan.placement.run import Run
from planner.question import Question

#: A replay may refuse the promised micro-batch for one that is faster by less than this;
#: candidates so near are proven too.
SLACK = 1.03


@dataclass(frozen=True)
class Candidate:
    """``run`` has the interruptions of the offer."""

    placement: Placement
    offer: Offer
    run: Run
    bill: Bill

    @property
    def usd(self) -> float:
        return self.bill.usd.p50

    @property
    def hours(self) -> float:
        return self.run.wall_hours.p50

    @property
    def names(self) -> tuple:
        """Who offers what: the order of candidates that cost and take the same."""
        strategy, variant, gpu, parallel = self.placement.key
        offer = self.offer
        place = (offer.provider, offer.region, offer.instance_type)
        return strategy, variant or "", *place, gpu, parallel


def keeps_limits(question: Question, candidate: Candidate, *, serving_usd: float = 0.0) -> bool:
    """``max_usd`` (of the training and of serving), ``max_hours`` and ``deadline``, by medians."""
    allowed = hours_allowed(question)
    affordable = question.max_usd is None or candidate.usd + serving_usd <= question.max_usd
    return affordable and (allowed is None or candidate.hours <= allowed)


def pareto(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those that no other beats in dollars without being slower, nor in hours without being dearer;
    the cheapest first."""

    def order(candidate: Candidate) -> tuple[float, float, str, str, str, ParallelPlan]:
        strategy, variant, gpu, parallel = candidate.placement.key
        return (
            candidate.usd,
            candidate.hours,
            candidate.offer.provider,
            variant or "",
            gpu,
            parallel,
        )

    front: list[Candidate] = []
    for candidate in sorted(candidates, key=order):
        if not front or candidate.hours < front[-1].hours:
            front.append(candidate)
    return front


def near_front(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those that no other beats by more than ``SLACK`` in both dollars and hours."""
    by_hours = sorted(candidates, key=lambda candidate: candidate.hours)
    hours, least, lowest = [candidate.hours for candidate in by_hours], [], float("inf")
    for candidate in by_hours:
        lowest = min(lowest, candidate.usd)
        least.append(lowest)

    def is_beaten(candidate: Candidate) -> bool:
        faster = bisect_right(hours, candidate.hours / SLACK)
        return faster > 0 and least[faster - 1] <= candidate.usd / SLACK

    return [candidate for candidate in by_hours if not is_beaten(candidate)]
