"""Every way that can be rented: strategies × variants × devices × counts × offers, with hours and
dollars; the cheapest that keeps the limits, and the front of dollars against hours.

A place (a variant on so many devices) is known better and better: by a bound on its dollars, by a
promise (times and bills are exact, that it fits is the grid's word), by a proof (a replay of the
allocator). The walk to the cheapest takes the place with the lowest dollars and looks at it more
closely, until a proven one has the lowest: what no bound lets win is never priced. Whatever is
returned was proven, and so was everything that could have been better; so it does not depend on
what was asked before.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from planner.devices.specification import DeviceSpec
from planner.errors import FieldName, ImageSizeError, PlannerError, QuestionError
from planner.parallel.plan import ParallelPlan
from planner.plan.around.offloaded import SHARED_WAYS
from planner.plan.inputs.hardware import Hardware, find_hardware
from planner.plan.inputs.problem import Problem
from planner.plan.limits import Allowed
from planner.plan.placement.grid import Grids
from planner.plan.placement.place import Key, Placement, promised, proven
from planner.plan.placement.variants import Variant, variants
from planner.plan.survey.bound import start_hours_at_least, wall_hours_at_least
from planner.plan.survey.candidate import (
    SLACK,
    Candidate,
    billed_alike,
    candidate,
    near_front,
    pareto,
)
from planner.plan.survey.layouts import Layouts, is_hybrid
from planner.plan.survey.offered import Market
from planner.plan.survey.places import Place, is_shareable, may_keep
from planner.question import Question
from planner.training.host_memory import OPTIMIZER, together

#: Devices that are looked at where nothing says how many: those of one host.
COUNTS = (1, 2, 4, 8)
#: Without a limit.
NO_LIMIT = Allowed()


class Survey:
    """``refused``: (strategy, device) → why it cannot be planned there. ``too_small``: where it
    does not fit. ``assumptions``: what was taken for the device that is asked for."""

    def __init__(
        self,
        problem: Problem,
        hardware: Hardware,
        layouts: Layouts,
    ) -> None:
        self.problem, self.hardware, self.layouts = problem, hardware, layouts
        self.market = Market(problem.question)
        every = [ways for spec in hardware.specs for _, ways in self._ways_on(spec)]
        self.plans = tuple(dict.fromkeys(plans[0] for plans in every))
        self.grids = Grids(problem, list(dict.fromkeys(plan for plans in every for plan in plans)))
        self.refused: dict[tuple[str, str], PlannerError] = {}
        self.too_small: set[tuple[str, str]] = set()
        self._places: dict[str, list[Place]] = {}

    # ---- what there is

    @property
    def counts(self) -> tuple[int, ...]:
        return self.layouts.counts

    @property
    def strategies(self) -> tuple[str, ...]:
        return self.problem.trained_strategies

    @property
    def assumptions(self) -> list[str]:
        return [] if self.hardware.searched else self.hardware.assumptions

    def variants(self, strategy: str) -> list[str | None]:
        """Names of a strategy's variants, the plainest first."""
        return list(dict.fromkeys(place.variant.name for place in self._of(strategy)))

    def of(self, strategy: str | None = None) -> list[Candidate]:
        """Candidates of one strategy, or of all: of every place that may fit."""
        return [one for place in self.placed(strategy) for one in place.candidates]

    def placed(self, strategy: str | None = None) -> list[Place]:
        """Places that may fit, each promised at least."""
        for place in self.places(strategy):
            self._promise(place)
        return [place for place in self.places(strategy) if not place.is_out]

    def places(self, strategy: str | None = None) -> list[Place]:
        """All of one strategy, or of all, as far as they are known."""
        names = [strategy] if strategy else self.strategies
        return [place for name in names for place in self._of(name)]

    @property
    def planned_strategies(self) -> set[str]:
        """Those that some device may do."""
        return {place.variant.strategy for place in self.placed()}

    def promised(self, place: Place) -> Placement | None:
        """The place by the grid's word, whatever a proof has made of it since; None where it does
        not fit."""
        self._promise(place)
        return place.promise

    def refusal(self, strategy: str) -> PlannerError:
        """Why nothing of a strategy can be planned: the last of the reasons."""
        reasons = [error for (name, _), error in self.refused.items() if name == strategy]
        return reasons[-1] if reasons else QuestionError("fits no device", where=strategy)

    # ---- which is best

    def cheapest(
        self,
        strategy: str,
        allowed: Allowed = NO_LIMIT,
        *,
        variant: str | None = None,
    ) -> Candidate | None:
        """The cheapest proven candidate (of equally cheap ones the fastest) that keeps what is
        allowed; of one variant, where it is named."""
        return self._first(self._of(strategy, variant), allowed, by_hours=False)

    def fastest(self, strategy: str, *, variant: str | None = None) -> Candidate | None:
        """The fastest proven candidate (of equally fast ones the cheapest)."""
        return self._first(self._of(strategy, variant), NO_LIMIT, by_hours=True)

    def nearest(
        self, strategy: str, allowed: Allowed = NO_LIMIT, *, variant: str | None = None
    ) -> Candidate | None:
        """The cheapest that keeps what is allowed; where none does the one that comes nearest to
        it: the cheapest where dollars are short, the fastest where hours are, else the cheapest in
        these hours. None where nothing fits."""
        found = self.cheapest(strategy, allowed, variant=variant)
        if found is not None or not allowed.is_set:
            return found
        cheapest = self.cheapest(strategy, variant=variant)
        if cheapest is None or allowed.usd is not None and cheapest.usd > allowed.usd:
            return cheapest
        in_time = self.cheapest(strategy, replace(allowed, usd=None), variant=variant)
        return in_time or self.fastest(strategy, variant=variant)

    def least_short(self, strategy: str, *, variant: str | None = None) -> Candidate | None:
        """Of what does not fit, proven: the place that lacks least memory, at its cheapest offer.
        None where none can be planned."""
        places = [place for place in self._of(strategy, variant) if place.error is None]
        if not places:
            return None
        least = min(places, key=lambda place: (self._short_bytes(place), place.usd, place.spec.key))
        placement = self._proven(least)
        offers = self.market.of(least.spec, least.parallel)
        return min(
            (candidate(self.problem, placement, rented) for rented in offers),
            key=lambda one: one.order,
        )

    def may_be_on_front(self, strategy: str, variant: str | None = None) -> list[Candidate]:
        """Candidates that no other beats by more than ``SLACK`` in both dollars and hours, promised
        at least. Places whose bounds are beaten by what is known are never priced."""
        places = self._of(strategy, variant)
        for place in places:
            if place.placement is None and not place.is_bounded and not place.is_out:
                self._bound(place)
        known: list[Candidate] = []
        for place in sorted(places, key=lambda place: (place.usd, place.hours, place.spec.key)):
            if place.placement is None and any(
                one.usd <= place.usd / SLACK and one.hours <= place.hours / SLACK for one in known
            ):
                continue
            self._promise(place)
            known += place.candidates
        return near_front(known)

    def front(self, strategy: str) -> list[Candidate]:
        """Proven candidates that no other beats in dollars without losing hours, the cheapest
        first."""
        while True:
            found = self.of(strategy)
            unproven = [one for one in near_front(found) if not one.placement.proven]
            if not unproven:
                return pareto(one for one in found if one.placement.proven)
            self.prove_all(one.placement.key for one in unproven)

    def prove_all(self, keys: Iterable[Key] | None = None) -> None:
        """Replay places; all of them without keys."""
        wanted = None if keys is None else set(keys)
        self.prove(p for p in self.placed() if wanted is None or p.key in wanted)

    def prove(self, places: Iterable[Place]) -> None:
        """Replay these places."""
        for place in places:
            self._prove(place)

    def _first(self, places: list[Place], allowed: Allowed, *, by_hours: bool) -> Candidate | None:
        heap = [item for place in places for item in self._ranked(place, by_hours)]
        heapq.heapify(heap)
        while heap:
            *_, place, one = heapq.heappop(heap)
            if one is not None and one.placement is not place.placement:
                continue  # known better meanwhile: its candidates are in the heap again
            if one is not None and one.placement.proven:
                if one.keeps(allowed):
                    return one
                continue
            if not may_keep(place, one, allowed):
                continue
            self._look_closer(place)
            for item in self._ranked(place, by_hours):
                heapq.heappush(heap, item)
        return None

    def _ranked(self, place: Place, by_hours: bool) -> Iterator[tuple]:
        """(what it is at least, its names, …): equal ones by their names, so that every run of the
        program answers alike; what is not known well comes before what is."""
        if place.is_out:
            return
        if place.placement is None:
            usd, hours = place.usd / SLACK, place.hours / SLACK
            first = (hours, usd) if by_hours else (usd, hours)
            yield *first, 0, (), id(place), place, None
        for one in place.candidates:
            slack = 1.0 if one.placement.proven else SLACK
            usd, hours = one.usd / slack, one.hours / slack
            first = (hours, usd) if by_hours else (usd, hours)
            yield *first, int(one.placement.proven), one.names, id(one), place, one

    # ---- a place looked at more closely

    def _of(self, strategy: str, variant: str | None = None) -> list[Place]:
        if strategy not in self._places:
            self._places[strategy] = list(self._found(strategy))
        return [place for place in self._places[strategy] if variant in (None, place.variant.name)]

    def _found(self, strategy: str) -> Iterator[Place]:
        for spec in self.hardware.specs:
            hours = start_hours_at_least(self.problem.question, spec)
            try:
                planned = list(variants(self.problem, strategy, spec))
            except PlannerError as error:
                self.refused[strategy, spec.key] = error
                continue
            for variant in planned:
                for placed, (parallel, *beyond) in self._ways_on(spec):
                    if self._is_beside_the_question(variant, parallel):
                        continue
                    usd = hours * self.market.usd_per_hour_at_least(placed, parallel)
                    shared = tuple(beyond) if is_shareable(variant) else ()
                    yield Place(variant, placed, parallel, hours, usd, shared)

    def _ways_on(self, spec: DeviceSpec) -> Iterator[tuple[DeviceSpec, tuple[ParallelPlan, ...]]]:
        """Of each count of devices the machines that they are offered in, and the plans there."""
        for count in self.counts:
            for placed in self.market.standing(spec, count):
                for plans in self.layouts.of(count, placed):
                    yield placed, plans

    def _is_beside_the_question(self, variant: Variant, parallel: ParallelPlan) -> bool:
        """Whether a plan that nobody asked for cannot do a variant."""
        question = self.problem.question
        asked = question.parallel not in (None, "auto") or is_hybrid(question)
        return bool(parallel.sharding) and not asked and not is_shareable(variant)

    def _look_closer(self, place: Place) -> None:
        if place.placement is not None:
            self._prove(place)
        elif place.is_bounded:
            self._promise(place)
        else:
            self._bound(place)

    def _bound(self, place: Place) -> None:
        question = self.problem.question
        try:
            hours = wall_hours_at_least(
                question,
                self.grids,
                place.variant,
                place.spec,
                place.parallel,
                shares=bool(place.beyond),
            )
        except PlannerError as error:
            self._refuse(place, error)
            return
        place.is_bounded, place.hours = True, max(place.hours, hours)
        place.usd = place.hours * self.market.usd_per_hour_at_least(place.spec, place.parallel)

    def _promise(self, place: Place) -> None:
        if place.placement is not None or place.is_out:
            return
        problem, spec = self.problem, place.spec
        try:
            placement = promised(problem, self.grids, place.variant, spec, place.parallel)
            if placement is not None and placement.fits:
                place.promise = placement
                self._put(place, placement)
                return
            if place.shares_more():
                return self._promise(place)
            self._too_small(place)
            if placement is not None:
                place.short_bytes = placement.evaluation_over_bytes
        except PlannerError as error:
            # no link between devices is known, or the trace cannot be made
            self._refuse(place, error)

    def _prove(self, place: Place) -> None:
        if place.is_proven or place.is_out:
            return
        try:
            placement = self._proven(place)
            if placement.fits:
                self._put(place, placement)
            elif place.shares_more():
                self._prove(place)
            else:
                self._too_small(place)
        except PlannerError as error:
            self._refuse(place, error)

    def _proven(self, place: Place) -> Placement:
        return proven(self.problem, self.grids, place.variant, place.spec, place.parallel)

    def _put(self, place: Place, placement: Placement) -> None:
        """With its bills; those of the promise where the proof runs alike, as most do."""
        before = place.placement
        if before is not None and billed_alike(before, placement):
            place.candidates = [replace(one, placement=placement) for one in place.candidates]
        else:
            offers = self.market.of(place.spec, place.parallel)
            place.candidates = [candidate(self.problem, placement, rented) for rented in offers]
        place.placement = placement

    def _too_small(self, place: Place) -> None:
        place.is_out, place.candidates = True, []
        self.too_small.add((place.variant.strategy, place.spec.key))

    def _refuse(self, place: Place, error: PlannerError) -> None:
        """Raises ImageSizeError, which no other way of training mends."""
        if isinstance(error, ImageSizeError):
            raise error
        place.is_out, place.candidates, place.error = True, [], error
        self.refused[place.variant.strategy, place.spec.key] = error

    def _short_bytes(self, place: Place) -> float:
        """By the grid, of the leanest policy of the heaviest stage; or what evaluations lack."""
        if place.short_bytes > 0:
            return place.short_bytes
        return max(
            min(
                grid.short_bytes(place.parallel)
                for grid in self.grids.of(stage, place.spec, place.parallel)
            )
            for stage in place.variant.stages
        )


def survey(
    problem: Problem,
    hardware: Hardware | None = None,
    *,
    counts: Sequence[int] | None = None,
    apart: bool = False,
) -> Survey:
    """Every way to do what is asked, on the devices of ``hardware`` (all that can be rented for the
    question, where it names none) and on so many of them (the question's count, else ``COUNTS``).
    ``apart``: copies and shared state are priced beside each other; without it devices share state
    where copies do not fit.

    Raises QuestionError and UnknownNameError for hardware that is not known or that nobody offers
    under these terms. What a strategy or a device cannot do is in ``refused``.
    """
    question = problem.question
    if hardware is None:
        _check_not_exact(question)
        hardware = (
            find_hardware(question, to_rent=True)
            if problem.trained_strategies
            else Hardware([], True)
        )
    asked = (question.gpus,) if "gpus" in question.model_fields_set else COUNTS
    alone = question.parallel not in SHARED_WAYS
    if OPTIMIZER in together(question.offload or ()) and alone:
        counts = [1]  # of several copies it is not planned
    return Survey(problem, hardware, Layouts(question, counts or asked, apart))


def _check_not_exact(question: Question) -> None:
    if question.exact:
        raise QuestionError(
            "the operations of other devices cannot be timed here",
            where=FieldName("exact"),
            mend="Leave it out, or ask planner estimate",
        )
