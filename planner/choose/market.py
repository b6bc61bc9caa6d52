"""Every way that can be rented: strategies × devices × counts × providers, with hours and dollars;
the cheapest that keeps the limits, and the front of dollars against hours.

Times and bills are exact for each way; that it fits is at first the grid's promise. Whatever is
returned by ``cheapest`` and ``front`` was proven by a replay of the allocator, and so was
everything that could have been better.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from planner.answer.limits import hours_allowed
from planner.cost.bill import Bill
from planner.cost.owned import owned
from planner.cost.prices.offers import Offer, given, no_offer, offers
from planner.cost.terms import BillingRule, billing_rule
from planner.devices.lookup import resolve_device
from planner.devices.specification import DeviceSpec, all_devices
from planner.errors import FieldName, ModelError, PlannerError, QuestionError
from planner.plan.billing import project_bill, with_interruptions
from planner.plan.defaults import choose
from planner.plan.grid import DeviceGrid, Grids, Stage, settle
from planner.plan.hardware import rentable
from planner.plan.options import feature_bytes, joined, models_of
from planner.plan.problem import Asked
from planner.plan.run import Run, whole_run
from planner.plan.search import Setting, lengths_of
from planner.question import Question

#: Devices of one host: networks between hosts are not modelled.
COUNTS = (1, 2, 4, 8)
#: A replay may refuse the promised micro-batch for one that is faster by less than this; ways so
#: near are proven too.
SLACK = 1.03


@dataclass(frozen=True)
class Place:
    """A variant of a strategy on a number of devices: what no price changes. ``proven``: a replay
    has passed every stage."""

    strategy: str
    variant: str | None
    spec: DeviceSpec
    gpus: int
    settings: tuple[Setting, ...]
    run: Run
    checkpoint_bytes: float
    disk_bytes: int
    proven: bool

    @property
    def key(self) -> tuple:
        return self.strategy, self.variant, self.spec.key, self.gpus


@dataclass(frozen=True)
class Way:
    """A place at an offer. ``run`` has the interruptions of that offer."""

    place: Place
    offer: Offer
    run: Run
    bill: Bill

    @property
    def usd(self) -> float:
        return self.bill.usd.p50

    @property
    def hours(self) -> float:
        return self.run.wall_hours.p50


@dataclass
class Market:
    """``ways`` of every place that may fit. ``refused``: (strategy, device) → why it cannot be
    planned there."""

    asked: Asked
    counts: tuple[int, ...]
    grids: Grids
    places: dict[tuple, Place] = field(default_factory=dict)
    ways: dict[tuple, list[Way]] = field(default_factory=dict)  # by the place's key
    refused: dict[tuple[str, str], str] = field(default_factory=dict)
    too_small: set[tuple[str, str]] = field(default_factory=set)
    assumptions: list[str] = field(default_factory=list)
    _plans: dict[tuple, list[Stage]] = field(default_factory=dict)
    _offers: dict[str, list[tuple[Offer, BillingRule | None]]] = field(default_factory=dict)

    def of(self, strategy: str | None = None) -> list[Way]:
        """Ways of one strategy, or of all."""
        return [
            way for key, found in self.ways.items() if strategy in (None, key[0]) for way in found
        ]

    def cheapest(
        self, strategy: str | None = None, keeps: Callable[[Way], bool] | None = None
    ) -> Way | None:
        """The cheapest proven way (of equally cheap ones the fastest) that keeps what is asked; by
        default the question's limits."""
        keeps = keeps or (lambda way: keeps_limits(self.asked.question, way))
        heap = [self._ranked(way) for way in self.of(strategy)]
        heapq.heapify(heap)
        while heap:
            _, _, _, way = heapq.heappop(heap)
            if way.place.proven:
                if keeps(way):
                    return way
                continue
            if self.places.get(way.place.key) is not way.place:
                continue  # proven meanwhile: its ways are in the heap again
            for again in self._prove(way.place.key):
                heapq.heappush(heap, self._ranked(again))
        return None

    def _ranked(self, way: Way) -> tuple:
        return (way.usd if way.place.proven else way.usd / SLACK, way.hours, id(way), way)

    def front(self, strategy: str | None = None) -> list[Way]:
        """Proven ways that no other beats in dollars without losing hours, the cheapest first."""
        while True:
            ways = self.of(strategy)
            open_ones = {way.place.key for way in _near_front(ways) if not way.place.proven}
            if not open_ones:
                return pareto([way for way in ways if way.place.proven])
            for key in open_ones:
                self._prove(key)

    def prove_all(self, keys: Iterable[tuple]) -> None:
        for key in list(keys):
            if key in self.places and not self.places[key].proven:
                self._prove(key)

    def _prove(self, key: tuple) -> list[Way]:
        """Replay a place; its ways then, none where no micro-batch passes."""
        old = self.places.pop(key)
        self.ways.pop(key)
        place = _place(
            self, self._plans[key], old.strategy, old.variant, old.spec, old.gpus, prove=True
        )
        if place is None:
            self.too_small.add((old.strategy, old.spec.key))
            return []
        return self._add(place)

    def _add(self, place: Place) -> list[Way]:
        self.places[place.key] = place
        self.ways[place.key] = [
            _way(self.asked, place, offer) for offer in self.offered(place.spec, place.gpus)
        ]
        return self.ways[place.key]

    def offered(self, spec: DeviceSpec, gpus: int) -> list[Offer]:
        """Offers of so many devices under the question's terms: of those that a provider bills
        alike, the cheapest."""
        if spec.key not in self._offers:
            self._offers[spec.key] = _offers(self.asked.question, spec)
        cheapest: dict[tuple, Offer] = {}
        for offer, rule in sorted(
            self._offers[spec.key],
            key=lambda o: (
                o[0].usd_per_hour_for(gpus),
                o[0].provider,
                o[0].region,
                o[0].instance_type,
            ),
        ):
            cheapest.setdefault((offer.provider, rule, offer.instances_for(gpus)), offer)
        return list(cheapest.values())


def survey(asked: Asked, *, counts: Sequence[int] | None = None) -> Market:
    """Every way to do what is asked. ``counts`` of devices: the question's where it names one, else
    ``COUNTS``.

    Raises QuestionError and UnknownNameError for hardware that is not known or that nobody offers
    under these terms. What a strategy or a device cannot do is in ``refused``.
    """
    question = asked.question
    if question.exact:
        raise QuestionError(
            "the operations of other devices cannot be timed here",
            where=FieldName("exact"),
            mend="Leave it out, or ask planner estimate",
        )
    counts = tuple(counts or ((question.gpus,) if "gpus" in question.model_fields_set else COUNTS))
    market = Market(asked, counts, Grids(asked, counts))
    specs = _devices(market) if asked.trained_strategies else []
    for strategy in asked.trained_strategies:
        for spec in specs:
            _fill(market, strategy, spec)
    return market


def keeps_limits(question: Question, way: Way, *, beside_usd: float = 0.0) -> bool:
    """``max_usd`` (of the way and what is paid beside it), ``max_hours`` and ``deadline``, by
    medians."""
    allowed = hours_allowed(question)
    return (question.max_usd is None or way.usd + beside_usd <= question.max_usd) and (
        allowed is None or way.hours <= allowed
    )


def pareto(ways: Iterable[Way]) -> list[Way]:
    """Those that no other beats in dollars without being slower, nor in hours without being dearer;
    the cheapest first."""
    front: list[Way] = []
    for way in sorted(
        ways,
        key=lambda way: (
            way.usd,
            way.hours,
            way.offer.provider,
            way.place.key[1] or "",
            way.place.key[2:],
        ),
    ):
        if not front or way.hours < front[-1].hours:
            front.append(way)
    return front


def _near_front(ways: list[Way]) -> list[Way]:
    """Ways that no other beats by more than ``SLACK`` in both."""
    by_hours = sorted(ways, key=lambda way: way.hours)
    hours, least, lowest = [way.hours for way in by_hours], [], float("inf")
    for way in by_hours:
        lowest = min(lowest, way.usd)
        least.append(lowest)

    def beaten(way: Way) -> bool:
        faster = bisect_right(hours, way.hours / SLACK)
        return faster > 0 and least[faster - 1] <= way.usd / SLACK

    return [way for way in ways if not beaten(way)]


# ---------------------------------------------------------------- where


def _devices(market: Market) -> list[DeviceSpec]:
    question = market.asked.question
    if question.gpu is None:
        return [rented.spec for rented in rentable(question)]
    found = resolve_device(question.gpu)
    if found.assumption:
        market.assumptions.append(found.assumption)
    if not market.offered(found.spec, 1):
        if found.spec.key not in {known.key for known in all_devices()}:
            raise QuestionError(
                "nobody's table has a price of it",
                where=found.spec.name,
                mend=f"Give {FieldName('price')}",
            )
        raise no_offer(
            found.spec.key, provider=question.provider, region=question.region, spot=question.spot
        )
    return [found.spec]


def _offers(question: Question, spec: DeviceSpec) -> list[tuple[Offer, BillingRule | None]]:
    """Each offer with how it rounds time."""
    if question.price is not None:
        return [(given(question.price, spec.key), None)]
    if question.owned_usd is not None:
        return [
            (
                owned(
                    spec,
                    usd=question.owned_usd,
                    years=question.owned_years,
                    utilisation=question.owned_utilisation,
                    usd_per_kwh=question.usd_per_kwh,
                ),
                None,
            )
        ]
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


# ---------------------------------------------------------------- how long and how much


def _fill(market: Market, strategy: str, spec: DeviceSpec) -> None:
    """All variants and counts of a strategy on a device."""
    try:
        plans = list(_variants(market.asked, strategy, spec))
    except PlannerError as error:
        market.refused[strategy, spec.key] = str(error)
        return
    for variant, stages in plans:
        for gpus in market.counts:
            try:
                place = _place(market, stages, strategy, variant, spec, gpus, prove=False)
            # no link between devices is known, or the trace cannot be made
            except PlannerError as error:
                market.refused[strategy, spec.key] = str(error)
                break
            if place is None:
                market.too_small.add((strategy, spec.key))
            else:
                market._plans[place.key] = stages
                market._add(place)


def _variants(
    asked: Asked, strategy: str, spec: DeviceSpec
) -> Iterator[tuple[str | None, list[Stage]]]:
    """(name, stages) of each variant, as ``planner.plan.options`` has them."""
    question = asked.question
    if strategy == "partial_fine_tune" and question.unfreezing == "gradual":
        top = choose(question, asked.facts, asked.data, strategy, spec)
        count = top.recipe.unfrozen_blocks + 1
        yield (
            "gradual unfreezing",
            [
                Stage(
                    question,
                    replace(
                        top,
                        recipe=replace(top.recipe, unfrozen_blocks=blocks),
                        epochs=top.epochs / count,
                    ),
                    asked.facts,
                )
                for blocks in range(count)
            ],
        )
        return
    if strategy != "feature_extraction" or question.cached_features is not True:
        facts, teacher = models_of(asked, strategy)
        yield (
            "every epoch" if strategy == "feature_extraction" else None,
            [Stage(question, choose(question, facts, asked.data, strategy, spec), facts, teacher)],
        )
    if strategy == "feature_extraction" and question.cached_features is not False:
        yield from _cached(asked, spec)


def _cached(asked: Asked, spec: DeviceSpec) -> Iterator[tuple[str, list[Stage]]]:
    """Features computed once, then epochs of the head; nothing for a head that is no module of its
    own."""
    question = asked.question
    once = question.model_copy(
        update={"evaluations_per_epoch": 0.0, "saves_per_epoch": 0.0, "max_steps": None}
    )
    try:
        making, head = (
            choose(question, asked.facts, asked.data, "feature_extraction", spec, variant=name)
            for name in ("features", "cached")
        )
        asked.source(head.with_checkpointing(head.checkpointing[0]), asked.facts).at(
            B=2, **_longest(asked, head)
        )
    except ModelError:
        if question.cached_features is True:
            raise
        return
    yield (
        "cached features",
        [Stage(once, replace(making, epochs=1.0), asked.facts), Stage(question, head, asked.facts)],
    )


def _longest(asked: Asked, choices) -> dict:
    return lengths_of(
        asked.data.batches(2, padding=choices.padding, max_length=choices.max_length)
    )[0]


def _place(
    market: Market,
    stages: list[Stage],
    strategy: str,
    variant: str | None,
    spec: DeviceSpec,
    gpus: int,
    *,
    prove: bool,
) -> Place | None:
    """None where a stage does not fit. Raises the errors of tracing and of links between
    devices."""
    settings, runs = [], []
    for stage in stages:
        found = settle(market.grids.of(stage, spec), gpus, prove=prove)
        if found is None:
            return None
        grid, setting = found
        settings.append(setting)
        runs.append(_run(market.asked, stage, grid, setting, gpus))
    checkpoint = grid.shared.trace.meta["checkpoint_bytes"]
    disk = (
        feature_bytes(settings[-1], market.asked.data.samples)
        if variant == "cached features"
        else 0
    )
    return Place(
        strategy,
        variant,
        spec,
        gpus,
        tuple(settings),
        runs[0] if len(runs) == 1 else joined(runs),
        checkpoint,
        disk,
        prove,
    )


def _run(asked: Asked, stage: Stage, grid: DeviceGrid, setting: Setting, gpus: int) -> Run:
    weights = (
        setting.memory.peak.breakdown["weights"] if setting.memory else grid.shared.weights_bytes
    )
    return whole_run(
        stage.question,
        stage.choices,
        setting,
        asked.data,
        gpus,
        grid.spec,
        weights_bytes=weights,
        checkpoint_bytes=grid.shared.trace.meta["checkpoint_bytes"],
    )


def _way(asked: Asked, place: Place, offer: Offer) -> Way:
    run = with_interruptions(asked.question, place.run, offer, place.gpus, place.checkpoint_bytes)
    bill = project_bill(
        asked.question,
        run,
        offer,
        place.gpus,
        None,
        data=asked.data,
        checkpoint_bytes=place.checkpoint_bytes,
        disk_bytes=place.disk_bytes,
    )
    return Way(place, offer, run, bill)
