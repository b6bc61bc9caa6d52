"""A placement at an offer: a way that can be rented, with its hours and its dollars."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from planner.cost.bill import Bill
from planner.cost.prices.offers import Offer
from planner.parallel.plan import ParallelPlan
from planner.plan.billed import billed
from planner.plan.inputs.hardware import RentedDevice
from planner.plan.inputs.problem import Problem
from planner.plan.limits import Allowed
from planner.plan.options import Option, priced
from planner.plan.placement.place import Placement
from planner.plan.placement.run import Run

#: A replay may refuse the promised micro-batch for one that is faster by less than this;
#: candidates so near are proven too.
SLACK = 1.03


@dataclass(frozen=True)
class Candidate:
    """``run`` has the interruptions of the offer; ``bill`` None: no price is known."""

    placement: Placement
    rented: RentedDevice
    run: Run
    bill: Bill | None

    @property
    def offer(self) -> Offer:
        """Raises ValueError where no price is known; what is rented has one."""
        if self.rented.offer is None:
            raise ValueError(f"no offer of {self.rented.spec.name} is known")
        return self.rented.offer

    @property
    def known_bill(self) -> Bill:
        """Raises as ``offer``."""
        if self.bill is None:
            raise ValueError(f"no price of {self.rented.spec.name} is known")
        return self.bill

    @property
    def usd(self) -> float:
        """The median; infinite where no price is known."""
        return math.inf if self.bill is None else self.bill.usd.p50

    @property
    def hours(self) -> float:
        return self.run.wall_hours.p50

    @property
    def names(self) -> tuple[str | ParallelPlan, ...]:
        """Who offers what: the order of candidates that cost and take the same."""
        strategy, variant, gpu, parallel, _ = self.placement.key
        return strategy, variant or "", *self._place, gpu, parallel

    @property
    def _place(self) -> tuple[str, str, str]:
        offer = self.rented.offer
        return (
            ("", "", "") if offer is None else (offer.provider, offer.region, offer.instance_type)
        )

    @property
    def order(self) -> tuple[float, float, tuple[str | ParallelPlan, ...]]:
        """The cheapest first, of equally cheap ones the fastest."""
        return self.usd, self.hours, self.names

    def keeps(self, allowed: Allowed) -> bool:
        """Whether its medians keep what is allowed."""
        return allowed.keeps(self.usd, self.hours)


def candidate(problem: Problem, placement: Placement, rented: RentedDevice) -> Candidate:
    """Raises QuestionError for a spot run that would not end."""
    return Candidate(placement, rented, *billed(problem, placement, rented))


def option_of(problem: Problem, chosen: Candidate) -> Option:
    """The candidate priced in full, as an answer shows it. Its placement is proven."""
    return priced(problem, chosen.placement, chosen.rented, chosen.run, chosen.bill)


def pareto(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those that no other beats in dollars without being slower, nor in hours without being dearer;
    the cheapest first."""
    front: list[Candidate] = []
    for one in sorted(candidates, key=lambda one: one.order):
        if not front or one.hours < front[-1].hours:
            front.append(one)
    return front


def near_front(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those that no other beats by more than ``SLACK`` in both dollars and hours."""
    by_hours = sorted(candidates, key=lambda one: one.hours)
    hours, least, lowest = [one.hours for one in by_hours], [], float("inf")
    for one in by_hours:
        lowest = min(lowest, one.usd)
        least.append(lowest)

    def is_beaten(one: Candidate) -> bool:
        faster = bisect_right(hours, one.hours / SLACK)
        return faster > 0 and least[faster - 1] <= one.usd / SLACK

    return [one for one in by_hours if not is_beaten(one)]


def billed_alike(one: Placement, other: Placement) -> bool:
    """Whether everything of a placement that a bill is made of is the same."""
    return (one.run, one.checkpoint_bytes, one.disk_bytes) == (
        other.run,
        other.checkpoint_bytes,
        other.disk_bytes,
    )
