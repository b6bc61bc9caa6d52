"""The decision: among strategies × devices × counts × providers the cheapest that keeps the limits, which strategy to take by
published rules, the front of dollars against hours, the stages in which to go and what the data at hand supports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from planner import units
from planner.errors import PlannerError
from planner.plan.asked import Asked, understand
from planner.plan.limits import hours_allowed, licence_problem
from planner.plan.market import Market, Way, keeps_limits, survey
from planner.plan.money_only import PaidOption, paid_options
from planner.plan.recommend import advised
from planner.plan.search import lengths_of
from planner.plan.smaller import smaller_siblings
from planner.plan.stages import cautions, data_support, staged_plan
from planner.question import PAID_STRATEGIES, Question

SCHEMA = 1
#: Ways of the front that are shown.
SHOWN = 12


def decide(question: Question, progress=None, *, everywhere: bool = False) -> dict[str, Any]:
    """The decision as plain JSON values: ``recommended`` (None where nothing keeps the limits) with why; ``cheapest`` of all
    strategies; ``strategies``, the cheapest way of each; ``front``; ``stages``; ``data``; ``cautions``; ``questions``; ``smaller``.

    ``everywhere`` adds ``ways``: the asked (or recommended) strategy on every device at every provider. For one strategy a higher
    limit never makes the price higher; between strategies a higher limit may let a better one in. Raises PlannerError as ``estimate``.
    """
    asked = understand(question, progress)
    market = survey(asked)
    paid = paid_options(asked)
    licence = licence_problem(question.licences, asked.facts.license)
    best = {strategy: market.cheapest(strategy, _barred if licence and strategy != "scratch" else None) for strategy in asked.trained_strategies}
    chosen = _recommended(asked, market, best)
    shown = chosen[0] if chosen else min(filter(None, best.values()), key=lambda way: way.usd, default=None)
    front_of = shown.place.strategy if shown else None
    front = market.front(front_of) if front_of and not (licence and front_of != "scratch") else []
    holds, questions = cautions(asked)
    document = {
        "schema": SCHEMA, "question": question.model_dump(mode="json") | {"strategy": list(asked.strategies)}, "dataset": asked.data.as_dict(),
        "model": {"name": asked.facts.name, "parameters": asked.facts.parameters, "license": asked.facts.license, "task": question.task or asked.facts.task},
        "limits": _limits(question), "licence": licence, "surveyed": _surveyed(market),
        "recommended": {**_way(chosen[0]), "why": chosen[1]} if chosen else None,
        "cheapest": _optional(min(filter(None, best.values()), key=lambda way: (way.usd, way.hours), default=None)),
        "strategies": [_strategy(market, name, best[name], licence) for name in asked.trained_strategies] + [_paid(option) for option in paid],
        "front": {"strategy": front_of, "ways": [{**_way(way), "keeps_limits": keeps_limits(question, way)} for way in _thinned(front)], "of": len(front)},
        "stages": staged_plan(asked, _costs(asked, market, paid)), "data": data_support(asked), "cautions": holds, "questions": questions,
        "smaller": _smaller(asked, chosen[0] if chosen else None),
        "assumptions": list(dict.fromkeys([*market.assumptions, *asked.assumptions, *_said(market, shown)])),
        "warnings": list(dict.fromkeys([*asked.warnings, *_refusals(market)]))}
    return document | ({"ways": _everywhere(market, front_of)} if everywhere else {})


def broken(document: Mapping[str, Any]) -> list[str]:
    """One sentence for each limit that nothing keeps; empty where something is recommended."""
    if document["recommended"]:
        return []
    if document["licence"]:
        return [document["licence"]]
    return [f"{one['strategy']}: {one['why_not']}" for one in document["strategies"] if one.get("why_not")] or ["nothing can be done under these limits"]


def _barred(way: Way) -> bool:
    return False


def _recommended(asked: Asked, market: Market, best: Mapping[str, Way | None]) -> tuple[Way, str] | None:
    """The cheapest way of the first strategy that the rules advise and the limits allow."""
    task, parameters = asked.question.task or asked.facts.task, asked.facts.parameters or _parameters(market)
    for strategy, reason in advised(task, parameters, asked.data.samples):
        way = best.get(strategy)
        if way is not None:
            return way, f"{reason}; {_among(market, way)}"
    return None


def _parameters(market: Market) -> int | None:
    return next((place.settings[-1].source.at(B=max(2, place.settings[-1].micro_batch), **lengths_of(place.settings[-1].batches)[0]).meta["total_params"]
                 for place in market.places.values() if place.strategy in ("fine_tune", "scratch")), None)


def _among(market: Market, way: Way) -> str:
    ways = [one for one in market.of(way.place.strategy) if keeps_limits(market.asked.question, one)]
    dearest = max(ways, key=lambda other: other.usd)
    return (f"{units.format_usd(way.usd)} at {way.offer.provider} is the cheapest of {len(ways)} ways to do it that fit"
            f"{' and keep the limits' if any(_limits(market.asked.question).values()) else ''}; the dearest, {_named(dearest)}, costs {units.format_usd(dearest.usd)}")


def _named(way: Way) -> str:
    count = f"{way.place.gpus} × " if way.place.gpus > 1 else ""
    return f"{count}{way.place.spec.name} at {way.offer.provider}"


def _limits(question: Question) -> dict[str, Any]:
    return {"max_usd": question.max_usd, "hours": hours_allowed(question), "licences": question.licences}


def _surveyed(market: Market) -> dict[str, Any]:
    ways = market.of()
    ages = [way.offer.age_days for way in ways]
    return {"ways": len(ways), "places": len(market.places), "gpus": len({way.place.spec.key for way in ways}),
            "providers": len({way.offer.provider.partition("-")[0] for way in ways}), "gpu_counts": list(market.counts),
            "newest_price_days": min(ages, default=None), "oldest_price_days": max(ages, default=None)}


# ---------------------------------------------------------------- one way

def _optional(way: Way | None) -> dict[str, Any] | None:
    return None if way is None else _way(way)


def _way(way: Way) -> dict[str, Any]:
    place, offer, setting = way.place, way.offer, way.place.settings[-1]
    memory = max((s.memory for s in place.settings if s.memory), key=lambda m: m.device_used_bytes.p50, default=None)
    return {
        "strategy": place.strategy, "variant": place.variant, "gpu": place.spec.name, "gpu_key": place.spec.key, "gpus": place.gpus, "provider": offer.provider,
        "instance_type": offer.instance_type or None, "region": offer.region, "spot": offer.spot, "micro_batch_size": setting.micro_batch,
        "gradient_accumulation": setting.accumulation, "gradient_checkpointing": setting.recipe.gradient_checkpointing, "precision": setting.recipe.precision,
        "wall_hours": way.run.wall_hours.as_dict(), "gpu_hours": way.run.gpu_hours.as_dict(), "usd": way.bill.usd.as_dict(), "breakdown": dict(way.bill.breakdown),
        "usd_per_gpu_hour": way.bill.usd_per_gpu_hour, "price_date": way.bill.price_date, "price_age_days": offer.age_days, "price_stale": offer.is_stale,
        "price_source": way.bill.price_source, "memory_bytes": memory.device_used_bytes.as_dict() if memory else None,
        "device_total_bytes": place.spec.total_memory_bytes, "memory_proven": place.proven, "warnings": list(dict.fromkeys([*way.run.warnings, *way.bill.warnings]))}


def _strategy(market: Market, name: str, way: Way | None, licence: str | None) -> dict[str, Any]:
    if way is not None:
        return {"strategy": name, "way": _way(way), "why_not": None}
    if licence and name != "scratch":
        return {"strategy": name, "way": None, "why_not": licence}
    return {"strategy": name, "way": None, "why_not": _why_not(market, name)}


def _why_not(market: Market, strategy: str) -> str:
    question = market.asked.question
    any_way = market.cheapest(strategy, lambda way: True)
    if any_way is None:
        refused = [why for (name, _), why in market.refused.items() if name == strategy]
        return refused[0] if refused else "fits no device that is offered under these terms"
    allowed, cheapest = hours_allowed(question), any_way.usd
    if question.max_usd is not None and cheapest > question.max_usd:
        return f"the cheapest way costs {units.format_usd(cheapest)}, {_named(any_way)}"
    fastest = market.front(strategy)[-1]
    if allowed is not None and fastest.hours > allowed:
        return f"the fastest way takes {units.format_seconds(fastest.hours * units.SECONDS_PER_HOUR)}, {_named(fastest)}"
    return f"no way keeps both limits: the cheapest takes {units.format_seconds(any_way.hours * units.SECONDS_PER_HOUR)}, the fastest costs {units.format_usd(fastest.usd)}"


def _paid(option: PaidOption) -> dict[str, Any]:
    date = option.price.captured_date
    priced = option.line.usd_per_request + option.line.metered_usd_per_request if option.line else None
    return {"strategy": option.strategy, "way": None, "why_not": None,
            "paid": {"variant": option.variant, "provider": option.provider, "usd": option.usd.as_dict(), "usd_per_request": priced,
                     "price_date": date.isoformat() if date else None, "warnings": list(option.warnings)}}


def _thinned(front: Sequence[Way]) -> list[Way]:
    """At most ``SHOWN`` ways of a front, evenly, with both ends."""
    if len(front) <= SHOWN:
        return list(front)
    return [front[round(i * (len(front) - 1) / (SHOWN - 1))] for i in range(SHOWN)]


def _said(market: Market, way: Way | None) -> list[str]:
    general = [f"devices counted: {', '.join(map(str, market.counts))}, on one host", "NVIDIA devices only where none is named: the time model was not held against others",
               "a price holds for its named offer, which may be sold out; the range is that of the hours"]
    return general + (list(dict.fromkeys([*way.place.run.notes, *way.bill.assumptions])) if way else [])


def _refusals(market: Market) -> list[str]:
    found: dict[str, list[str]] = {}
    for (strategy, key), why in market.refused.items():
        found.setdefault(f"{strategy} is left out on some devices: {why}", []).append(key)
    return [f"{text} ({', '.join(keys[:4])}{' and others' if len(keys) > 4 else ''})" for text, keys in found.items()]


# ---------------------------------------------------------------- around it

def _costs(asked: Asked, market: Market, paid: Sequence[PaidOption]) -> dict[str, dict[str, Any]]:
    """Strategy → what it costs at its cheapest, whatever the limits, for the staged plan."""
    costs: dict[str, dict[str, Any]] = {}
    for strategy in asked.trained_strategies:
        way = market.cheapest(strategy, lambda way: True)
        costs[strategy] = {"usd": None, "why_not": "fits no device"} if way is None else {"usd": way.usd, "hours": way.hours, "where": _named(way)}
    for strategy in PAID_STRATEGIES:
        costs[strategy] = _paid_cost(asked, strategy, [option for option in paid if option.strategy == strategy])
    return costs


def _paid_cost(asked: Asked, strategy: str, options: list[PaidOption]) -> dict[str, Any]:
    if not options:
        try:
            options = paid_options(Asked(asked.question.model_copy(update={"strategy": [strategy]}), asked.facts, asked.data))
        except PlannerError as error:
            return {"usd": None, "why_not": str(error)}
    option = min(options, key=lambda one: (one.usd.p50, one.provider))
    where = f"{option.provider} {option.price.model}"
    if asked.question.requests_per_month is None:
        return {"usd": None, "usd_per_request": option.line.usd_per_request + option.line.metered_usd_per_request if option.line else None, "where": where,
                "why_not": "requests are not given"}
    return {"usd": option.usd.p50, "where": where}


def _smaller(asked: Asked, chosen: Way | None) -> list[dict[str, Any]]:
    """The next smaller model of the family, and the next one that can be priced without recording its step."""
    found = []
    for name, parameters, shipped in smaller_siblings(asked.facts):
        if not found or shipped:
            found.append({"model": name, "parameters": parameters, **_priced_sibling(asked, name, chosen, shipped)})
        if shipped:
            break
    return found


def _priced_sibling(asked: Asked, name: str, chosen: Way | None, shipped: bool) -> dict[str, Any]:
    if chosen is None or not shipped:
        return {"way": None, "why_not": f"ask for it: planner choose {name}"}
    try:
        question = asked.question.model_copy(update={"model": name, "strategy": [chosen.place.strategy]})
        way = survey(understand(question)).cheapest()
    except PlannerError as error:
        return {"way": None, "why_not": str(error)}
    return {"way": _optional(way), "why_not": None if way else "keeps no limit"}


def _everywhere(market: Market, strategy: str | None) -> list[dict[str, Any]]:
    """Of one strategy the cheapest way of each device at each provider, proven; the cheapest first."""
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
            return [_way(way) for way in sorted(best.values(), key=lambda way: (way.usd, way.place.spec.key, way.offer.provider))]
        market.prove_all(unproven)
