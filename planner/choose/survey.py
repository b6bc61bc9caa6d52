"""Every way that can be rented: strategies × devices × counts × providers, with hours and dollars;
the cheapest that keeps the limits, and the front of dollars against hours.

Times and bills are exact for each candidate; that it fits is at first the grid's word. Whatever is
returned by ``cheapest`` and ``front`` was proven by a replay of the allocator, and so was
everything that could have been better.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from planner.choose.candidate import SLACK, Candidate, keeps_limits, near_front, pareto
from planner.cost.prices.offers import Offer, given, no_offer, offers
from planner.cost.terms import BillingRule, billing_rule
from planner.devices.lookup import resolve_device
from planner.devices.specification import DeviceSpec, all_devices
from planner.errors import FieldName, PlannerError, QuestionError
from planner.parallel.plan import ParallelPlan
from planner.plan.billing import project_bill, with_interruptions
from planner.plan.inputs.hardware import own_offer, rentable
from planner.plan.inputs.problem import Problem
from planner.plan.placement.grid import Grids
from planner.plan.placement.place import Key, Placement, promised, proven
from planner.plan.placement.variants import variants
from planner.question import Question

#: Devices of one host: networks between hosts are not modelled.
COUNTS = (1, 2, 4, 8)


@dataclass
class Survey:
    """``candidates`` of every placement that may fit. ``refused``: (strategy, device) → why it
    cannot be planned there."""

    problem: Problem
    plans: tuple[ParallelPlan, ...]
    grids: Grids
    placements: dict[Key, Placement] = field(default_factory=dict)
    candidates: dict[Key, list[Candidate]] = field(default_factory=dict)
    refused: dict[tuple[str, str], str] = field(default_factory=dict)
    too_small: set[tuple[str, str]] = field(default_factory=set)
    assumptions: list[str] = field(default_factory=list)
    _offers: dict[str, list[tuple[Offer, BillingRule | None]]] = field(default_factory=dict)

    @property
    def counts(self) -> tuple[int, ...]:
        return tuple(plan.devices for plan in self.plans)

    @property
    def planned_strategies(self) -> set[str]:
        """Those that some device may do."""
        return {key[0] for key, candidates in self.candidates.items() if candidates}

    def of(self, strategy: str | None = None) -> list[Candidate]:
        """Candidates of one strategy, or of all."""
        return [
            candidate
            for key, found in self.candidates.items()
            if strategy in (None, key[0])
            for candidate in found
        ]

    def cheapest(
        self, strategy: str | None = None, keeps: Callable[[Candidate], bool] | None = None
    ) -> Candidate | None:
        """The cheapest proven candidate (of equally cheap ones the fastest) that keeps what is
        asked; by default the question's limits."""
        keeps = keeps or (lambda candidate: keeps_limits(self.problem.question, candidate))
        heap = [_ranked(candidate) for candidate in self.of(strategy)]
        heapq.heapify(heap)
        while heap:
            *_, candidate = heapq.heappop(heap)
            if candidate.placement.proven:
                if keeps(candidate):
                    return candidate
                continue
            if self.placements.get(candidate.placement.key) is not candidate.placement:
                continue  # proven meanwhile: its candidates are in the heap again
            for again in self._prove(candidate.placement.key):
                heapq.heappush(heap, _ranked(again))
        return None

    def front(self, strategy: str | None = None) -> list[Candidate]:
        """Proven candidates that no other beats in dollars without losing hours, the cheapest
        first."""
        while True:
            found = self.of(strategy)
            unproven = {c.placement.key for c in near_front(found) if not c.placement.proven}
            if not unproven:
                return pareto(c for c in found if c.placement.proven)
            self.prove_all(unproven)

    def prove_all(self, keys: Iterable[Key]) -> None:
        for key in list(keys):
            if key in self.placements and not self.placements[key].proven:
                self._prove(key)

    def _prove(self, key: Key) -> list[Candidate]:
        """Replay a placement; its candidates then, none where no micro-batch passes."""
        before = self.placements.pop(key)
        self.candidates.pop(key)
        placement = proven(self.problem, self.grids, before.variant, before.spec, before.parallel)
        if not placement.fits:
            self.too_small.add((before.strategy, before.spec.key))
            return []
        return self.add(placement)

    def add(self, placement: Placement) -> list[Candidate]:
        """Its candidates, one an offer."""
        self.placements[placement.key] = placement
        self.candidates[placement.key] = [
            _candidate(self.problem, placement, offer)
            for offer in self.offered(placement.spec, placement.parallel.devices)
        ]
        return self.candidates[placement.key]

    def offered(self, spec: DeviceSpec, devices: int) -> list[Offer]:
        """Offers of so many devices under the question's terms: of those that a provider bills
        alike, the cheapest."""
        if spec.key not in self._offers:
            self._offers[spec.key] = _offers(self.problem.question, spec)

        def order(offered: tuple[Offer, BillingRule | None]) -> tuple[float, str, str, str]:
            offer = offered[0]
            usd = offer.usd_per_hour_for(devices)
            return usd, offer.provider, offer.region, offer.instance_type

        cheapest: dict[tuple[str, BillingRule | None, int], Offer] = {}
        for offer, rule in sorted(self._offers[spec.key], key=order):
            cheapest.setdefault((offer.provider, rule, offer.instances_for(devices)), offer)
        return list(cheapest.values())


def survey(problem: Problem, *, counts: Sequence[int] | None = None) -> Survey:
    """Every way to do what is asked. ``counts`` of devices: the question's where it names one, else
    ``COUNTS``.

    Raises QuestionError and UnknownNameError for hardware that is not known or that nobody offers
    under these terms. What a strategy or a device cannot do is in ``refused``.
    """
    question = problem.question
    if question.exact:
        raise QuestionError(
            "the operations of other devices cannot be timed here",
            where=FieldName("exact"),
            mend="Leave it out, or ask planner estimate",
        )
    asked_counts = (question.gpus,) if "gpus" in question.model_fields_set else COUNTS
    plans = tuple(ParallelPlan(dp_replicate=count) for count in counts or asked_counts)
    found = Survey(problem, plans, Grids(problem, plans))
    specs = _devices(found) if problem.trained_strategies else []
    for strategy in problem.trained_strategies:
        for spec in specs:
            _fill(found, strategy, spec)
    return found


def _ranked(candidate: Candidate) -> tuple[float, float, tuple, int, Candidate]:
    """In the order of dollars and hours; equal ones by their names, so that every run of the
    program answers alike."""
    usd = candidate.usd if candidate.placement.proven else candidate.usd / SLACK
    return usd, candidate.hours, candidate.names, id(candidate), candidate


def _devices(found: Survey) -> list[DeviceSpec]:
    question = found.problem.question
    if question.gpu is None:
        return [rented.spec for rented in rentable(question)]
    device = resolve_device(question.gpu)
    if device.assumption:
        found.assumptions.append(device.assumption)
    if not found.offered(device.spec, 1):
        if device.spec.key not in {known.key for known in all_devices()}:
            raise QuestionError(
                "nobody's table has a price of it",
                where=device.spec.name,
                mend=f"Give {FieldName('price')}",
            )
        raise no_offer(
            device.spec.key,
            provider=question.provider,
            region=question.region,
            spot=question.spot,
        )
    return [device.spec]


def _offers(question: Question, spec: DeviceSpec) -> list[tuple[Offer, BillingRule | None]]:
    """Each offer with how it rounds time."""
    if question.price is not None:
        return [(given(question.price, spec.key), None)]
    own = own_offer(question, spec)
    if own is not None:
        return [(own, None)]
    if spec.key not in {known.key for known in all_devices()}:
        return []  # a device that only its profile knows: nobody's table has a price
    found = offers(
        spec.key,
        provider=question.provider,
        region=question.region,
        spot=question.spot,
        commitment=question.commitment,
    )
    return [(offer, billing_rule(offer.provider, offer.instance_type)) for offer in found]


def _fill(found: Survey, strategy: str, spec: DeviceSpec) -> None:
    """All variants and counts of a strategy on a device."""
    try:
        planned = list(variants(found.problem, strategy, spec))
    except PlannerError as error:
        found.refused[strategy, spec.key] = str(error)
        return
    for variant in planned:
        for parallel in found.plans:
            try:
                placement = promised(found.problem, found.grids, variant, spec, parallel)
            except PlannerError as error:
                # no link between devices is known, or the trace cannot be made
                found.refused[strategy, spec.key] = str(error)
                break
            if placement is None:
                found.too_small.add((strategy, spec.key))
            else:
                found.add(placement)


def _candidate(problem: Problem, placement: Placement, offer: Offer) -> Candidate:
    devices = placement.parallel.devices
    run = with_interruptions(
        problem.question, placement.run, offer, devices, placement.checkpoint_bytes
    )
    bill = project_bill(
        problem.question,
        run,
        offer,
        devices,
        prices=None,
        data=problem.data,
        checkpoint_bytes=placement.checkpoint_bytes,
        disk_bytes=placement.disk_bytes,
    )
    return Candidate(placement, offer, run, bill)
