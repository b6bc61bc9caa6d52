"""The decision: among strategies × devices × counts × providers the cheapest that keeps the limits,
which strategy to take by published rules, the front of dollars against hours, the stages in which
to go and what the data at hand supports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from planner import units
from planner.answer.limits import hours_allowed, licence_problem
from planner.answer.recommend import advised
from planner.choose.market import Market, Way, keeps_limits, survey
from planner.choose.market_serving import Served, cheapest_serving
from planner.choose.smaller import smaller_siblings
from planner.choose.stages import cautions, data_support, staged_plan
from planner.errors import PlannerError
from planner.plan.paid_options import PaidOption, cheapest_paid, paid_options
from planner.plan.problem import Asked, understand
from planner.plan.search import lengths_of
from planner.question import Question

SCHEMA = 1
#: Ways of the front that are shown.
SHOWN = 12


def decide(question: Question, progress=None, *, everywhere: bool = False) -> dict[str, Any]:
    """The decision as plain JSON values: ``recommended`` (None where nothing keeps the limits) with
    why; ``cheapest`` of all strategies; ``strategies``, the cheapest way of each; ``front``;
    ``stages``; ``data``; ``cautions``; ``questions``; ``smaller``.

    ``everywhere`` adds ``ways``: the asked (or recommended) strategy on every device at every
    provider. For one strategy a higher limit never makes the price higher; between strategies a
    higher limit may let a better one in. Raises PlannerError as ``estimate``.
    """
    asked = understand(question, progress)
    market = survey(asked)
    paid = paid_options(asked)
    found = _Found(market, paid, licence_problem(question.licences, asked.facts.license))
    shown = (
        found.chosen[0]
        if found.chosen
        else min(filter(None, found.best.values()), key=lambda way: way.usd, default=None)
    )
    front_of = shown.place.strategy if shown else None
    front = market.front(front_of) if front_of else []
    holds, questions = cautions(asked)
    document = {
        "schema": SCHEMA,
        "question": question.model_dump(mode="json") | {"strategy": list(asked.strategies)},
        "dataset": asked.data.as_dict(),
        "model": {
            "name": asked.facts.name,
            "parameters": asked.facts.parameters,
            "license": asked.facts.license,
            "task": question.task or asked.facts.task,
        },
        "limits": _limits(question),
        "licence": found.licence,
        "surveyed": _surveyed(market),
        "recommended": found.recommended(),
        "cheapest": _optional(
            min(
                filter(None, found.best.values()),
                key=lambda way: (way.usd, way.hours),
                default=None,
            )
        ),
        "strategies": [found.strategy(name) for name in asked.trained_strategies]
        + [_paid(option) for option in paid],
        "front": {
            "strategy": front_of,
            "ways": [{**_way(way), "keeps_limits": found.keeps(way)} for way in _thinned(front)],
            "of": len(front),
        },
        "stages": staged_plan(asked, _costs(asked, market, paid)),
        "data": data_support(asked),
        "cautions": holds,
        "questions": questions,
        "smaller": _smaller(asked, found.chosen[0] if found.chosen else None),
        "assumptions": list(
            dict.fromkeys([*market.assumptions, *asked.assumptions, *_said(market, shown)])
        ),
        "warnings": list(dict.fromkeys([*asked.warnings, *_refusals(market)])),
    }
    return document | ({"ways": _everywhere(market, front_of)} if everywhere else {})


class _Found:
    """The cheapest way of each strategy under the limits, where its model would be served, and
    which one is advised."""

    def __init__(self, market: Market, paid: Sequence[PaidOption], licence: str | None):
        self.market, self.paid, self.licence, self.question = (
            market,
            paid,
            licence,
            market.asked.question,
        )
        names = market.asked.trained_strategies
        self.served = {name: cheapest_serving(market, name) for name in names}
        self.best = {name: market.cheapest(name, self.keeps) for name in names}
        self.chosen = self._advised()

    def barred(self, strategy: str) -> bool:
        """The licence is that of the weights, which training from scratch does not use."""
        return self.licence is not None and strategy != "scratch"

    def serving_usd(self, strategy: str) -> float:
        served = self.served[strategy]
        return (
            served.usd_per_month.p50 * self.question.horizon_months
            if isinstance(served, Served)
            else 0.0
        )

    def keeps(self, way: Way) -> bool:
        return not self.barred(way.place.strategy) and keeps_limits(
            self.question, way, beside_usd=self.serving_usd(way.place.strategy)
        )

    def _advised(self) -> tuple[Way, str] | None:
        """The cheapest way of the first strategy that the rules advise and the limits allow."""
        asked = self.market.asked
        for strategy, reason in advised(
            self.question.task or asked.facts.task,
            asked.facts.parameters or _parameters(self.market),
            asked.data.samples,
        ):
            way = self.best.get(strategy)
            # a licence is no reason to train from scratch
            if way is not None and (self.licence is None or self.question.strategy):
                return way, f"{reason}; {self._among(way)}"
        return None

    def _among(self, way: Way) -> str:
        ways = [one for one in self.market.of(way.place.strategy) if self.keeps(one)]
        dearest = max(ways, key=lambda one: one.usd)
        return (
            f"{units.format_usd(way.usd)} at {way.offer.provider} is the cheapest of "
            f"{len(ways)} ways to do it that fit"
            f"{' and keep the limits' if any(_limits(self.question).values()) else ''}; the "
            f"dearest, {_named(dearest)}, costs {units.format_usd(dearest.usd)}"
        )

    def recommended(self) -> dict[str, Any] | None:
        """Of what trains; where only ways that are paid by the token are asked for, the cheapest of
        those."""
        if self.chosen:
            way, why = self.chosen
            return {**_way(way), **self._project(way), "why": why}
        paid = None if self.best else cheapest_paid(self.question, self.paid)
        return (
            None
            if paid is None
            else {
                "strategy": paid[0].strategy,
                "variant": paid[0].variant,
                "gpu": None,
                "gpus": 0,
                "provider": paid[0].provider,
                "usd": paid[0].usd.as_dict(),
                "price_date": _date(paid[0]),
                "warnings": list(paid[0].warnings),
                "why": paid[1],
            }
        )

    def _project(self, way: Way) -> dict[str, Any]:
        served = self.served[way.place.strategy]
        if not isinstance(served, Served):
            return {"serving": None, "project_usd": None}
        project = way.bill.usd + served.usd_per_month.scale(self.question.horizon_months)
        return {
            "serving": {
                "gpu": served.spec.name,
                "gpus": served.serving.gpus,
                "provider": served.offer.provider,
                "usd_per_month": served.usd_per_month.as_dict(),
                "price_date": served.offer.captured_date.isoformat(),
                "assumptions": list(served.serving.assumptions),
            },
            "project_usd": project.as_dict(),
        }

    def strategy(self, name: str) -> dict[str, Any]:
        way, served = self.best[name], self.served[name]
        if way is not None:
            return {
                "strategy": name,
                "way": _way(way),
                "why_not": None,
                **self._project(way),
                "serving_why_not": served if isinstance(served, str) else None,
            }
        return {
            "strategy": name,
            "way": None,
            "why_not": self.licence
            if self.barred(name)
            else _why_not(self.market, name, self.serving_usd(name)),
        }


def broken(document: Mapping[str, Any]) -> list[str]:
    """One sentence for each strategy that the limits forbid; empty where something is
    recommended."""
    if document["recommended"]:
        return []
    if document["licence"]:
        return [document["licence"]]
    return [
        f"{one['strategy']}: {one['why_not']}"
        for one in document["strategies"]
        if one.get("why_not")
    ] or ["nothing can be done under these limits"]


def _parameters(market: Market) -> int | None:
    return next(
        (
            place.settings[-1]
            .source.at(
                B=max(2, place.settings[-1].micro_batch),
                **lengths_of(place.settings[-1].batches)[0],
            )
            .meta["total_params"]
            for place in market.places.values()
            if place.strategy in ("fine_tune", "scratch")
        ),
        None,
    )


def _named(way: Way) -> str:
    count = f"{way.place.gpus} × " if way.place.gpus > 1 else ""
    return f"{count}{way.place.spec.name} at {way.offer.provider}"


def _limits(question: Question) -> dict[str, Any]:
    return {
        "max_usd": question.max_usd,
        "hours": hours_allowed(question),
        "licences": question.licences,
    }


def _surveyed(market: Market) -> dict[str, Any]:
    ways = market.of()
    ages = [way.offer.age_days for way in ways]
    return {
        "ways": len(ways),
        "places": len(market.places),
        "gpus": len({way.place.spec.key for way in ways}),
        "providers": len({way.offer.provider.partition("-")[0] for way in ways}),
        "gpu_counts": list(market.counts),
        "newest_price_days": min(ages, default=None),
        "oldest_price_days": max(ages, default=None),
    }


# ---------------------------------------------------------------- one way


def _optional(way: Way | None) -> dict[str, Any] | None:
    return None if way is None else _way(way)


def _way(way: Way) -> dict[str, Any]:
    place, offer, setting = way.place, way.offer, way.place.settings[-1]
    memory = max(
        (s.memory for s in place.settings if s.memory),
        key=lambda m: m.device_used_bytes.p50,
        default=None,
    )
    return {
        "strategy": place.strategy,
        "variant": place.variant,
        "gpu": place.spec.name,
        "gpu_key": place.spec.key,
        "gpus": place.gpus,
        "provider": offer.provider,
        "instance_type": offer.instance_type or None,
        "region": offer.region,
        "spot": offer.spot,
        "micro_batch_size": setting.micro_batch,
        "gradient_accumulation": setting.accumulation,
        "gradient_checkpointing": setting.recipe.gradient_checkpointing,
        "precision": setting.recipe.precision,
        "wall_hours": way.run.wall_hours.as_dict(),
        "gpu_hours": way.run.gpu_hours.as_dict(),
        "usd": way.bill.usd.as_dict(),
        "breakdown": dict(way.bill.breakdown),
        "usd_per_gpu_hour": way.bill.usd_per_gpu_hour,
        "price_date": way.bill.price_date,
        "price_age_days": offer.age_days,
        "price_stale": offer.is_stale,
        "price_source": way.bill.price_source,
        "memory_bytes": memory.device_used_bytes.as_dict() if memory else None,
        "device_total_bytes": place.spec.total_memory_bytes,
        "memory_proven": place.proven,
        "warnings": list(dict.fromkeys([*way.run.warnings, *way.bill.warnings])),
    }


def _why_not(market: Market, strategy: str, serving_usd: float) -> str:
    question = market.asked.question
    any_way = market.cheapest(strategy, lambda way: True)
    if any_way is None:
        refused = [why for (name, _), why in market.refused.items() if name == strategy]
        return refused[0] if refused else "fits no device that is offered under these terms"
    allowed, cheapest = hours_allowed(question), any_way.usd + serving_usd
    if question.max_usd is not None and cheapest > question.max_usd:
        return (
            "the cheapest way costs "
            f"{units.format_usd(cheapest)}{' with serving' if serving_usd else ''}, "
            f"{_named(any_way)}"
        )
    fastest = market.front(strategy)[-1]
    if allowed is not None and fastest.hours > allowed:
        return (
            "the fastest way takes "
            f"{units.format_seconds(fastest.hours * units.SECONDS_PER_HOUR)}, {_named(fastest)}"
        )
    return (
        "no way keeps both limits: the cheapest takes "
        f"{units.format_seconds(any_way.hours * units.SECONDS_PER_HOUR)}, the fastest costs "
        f"{units.format_usd(fastest.usd)}"
    )


def _paid(option: PaidOption) -> dict[str, Any]:
    priced = (
        option.line.usd_per_request + option.line.metered_usd_per_request if option.line else None
    )
    return {
        "strategy": option.strategy,
        "way": None,
        "why_not": None,
        "paid": {
            "variant": option.variant,
            "provider": option.provider,
            "usd": option.usd.as_dict(),
            "usd_per_request": priced,
            "price_date": _date(option),
            "warnings": list(option.warnings),
        },
    }


def _date(option: PaidOption) -> str | None:
    date = option.price.captured_date
    return date.isoformat() if date else None


def _thinned(front: Sequence[Way]) -> list[Way]:
    """At most ``SHOWN`` ways of a front, evenly, with both ends."""
    if len(front) <= SHOWN:
        return list(front)
    return [front[round(i * (len(front) - 1) / (SHOWN - 1))] for i in range(SHOWN)]


def _said(market: Market, way: Way | None) -> list[str]:
    general = [
        f"devices counted: {', '.join(map(str, market.counts))}, on one host",
        "NVIDIA devices only where none is named: the time model was not held against others",
        "a price holds for its named offer, which may be sold out; the range is that of the hours",
    ]
    return general + (
        list(dict.fromkeys([*way.place.run.notes, *way.bill.assumptions])) if way else []
    )


def _refusals(market: Market) -> list[str]:
    found: dict[str, list[str]] = {}
    for (strategy, key), why in market.refused.items():
        found.setdefault(f"{strategy} is left out on some devices: {why}", []).append(key)
    return [
        f"{text} ({', '.join(keys[:4])}{' and others' if len(keys) > 4 else ''})"
        for text, keys in found.items()
    ]


# ---------------------------------------------------------------- around it


def _costs(asked: Asked, market: Market, paid: Sequence[PaidOption]) -> dict[str, dict[str, Any]]:
    """Strategy → what it costs at its cheapest, whatever the limits, for the staged plan."""
    costs: dict[str, dict[str, Any]] = {}
    for strategy in asked.trained_strategies:
        way = market.cheapest(strategy, lambda way: True)
        costs[strategy] = (
            {"usd": None, "why_not": "fits no device"}
            if way is None
            else {"usd": way.usd, "hours": way.hours, "where": _named(way)}
        )
    for strategy in ("prompting", "rag"):  # the stages before tuning
        costs[strategy] = _paid_cost(
            asked, strategy, [option for option in paid if option.strategy == strategy]
        )
    return costs


def _paid_cost(asked: Asked, strategy: str, options: list[PaidOption]) -> dict[str, Any]:
    if not options:
        try:
            options = paid_options(
                Asked(
                    asked.question.model_copy(update={"strategy": [strategy]}),
                    asked.facts,
                    asked.data,
                )
            )
        except PlannerError as error:
            return {"usd": None, "why_not": str(error)}
    option = min(options, key=lambda one: (one.usd.p50, one.provider))
    where = f"{option.provider} {option.price.model}"
    if asked.question.requests_per_month is None:
        return {
            "usd": None,
            "usd_per_request": option.line.usd_per_request + option.line.metered_usd_per_request
            if option.line
            else None,
            "where": where,
            "why_not": "requests are not given",
        }
    return {"usd": option.usd.p50, "where": where}


def _smaller(asked: Asked, chosen: Way | None) -> list[dict[str, Any]]:
    """The next smaller model of the family, and the next one that can be priced without recording
    its step."""
    found = []
    for name, parameters, shipped in smaller_siblings(asked.facts):
        if not found or shipped:
            found.append(
                {
                    "model": name,
                    "parameters": parameters,
                    **_priced_sibling(asked, name, chosen, shipped),
                }
            )
        if shipped:
            break
    return found


def _priced_sibling(asked: Asked, name: str, chosen: Way | None, shipped: bool) -> dict[str, Any]:
    if chosen is None or not shipped:
        return {"way": None, "why_not": f"ask for it: planner choose {name}"}
    try:
        question = asked.question.model_copy(
            update={"model": name, "strategy": [chosen.place.strategy]}
        )
        way = survey(understand(question)).cheapest()
    except PlannerError as error:
        return {"way": None, "why_not": str(error)}
    return {"way": _optional(way), "why_not": None if way else "keeps no limit"}


def _everywhere(market: Market, strategy: str | None) -> list[dict[str, Any]]:
    """Of one strategy the cheapest way of each device at each provider, proven; the cheapest
    first."""
    if strategy is None:
        return []
    while True:
        best: dict[tuple[str, str], Way] = {}
        for way in market.of(strategy):
            key = (way.place.spec.key, way.offer.provider)
            if key not in best or (way.usd, way.hours) < (best[key].usd, best[key].hours):
                best[key] = way
        unproven = {way.place.key for way in best.values() if not way.place.proven}
        if not unproven:
            return [
                _way(way)
                for way in sorted(
                    best.values(), key=lambda way: (way.usd, way.place.spec.key, way.offer.provider)
                )
            ]
        market.prove_all(unproven)
