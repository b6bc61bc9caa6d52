"""Hours against dollars: what the recommended strategy takes on other GPUs and at other
providers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from planner.budget.parts.subject import Json, Subject, is_stale
from planner.cost.bill import NO_PROVIDER
from planner.errors import PlannerError
from planner.plan.inputs.hardware import Hardware, rentable
from planner.plan.options import Option
from planner.plan.survey.candidate import Candidate, pareto
from planner.plan.survey.places import Place
from planner.plan.survey.survey import COUNTS, Survey, survey


def offers(subject: Subject) -> list[Json]:
    """Of the recommended variant (of what comes nearest where nothing is recommended): what lies on
    the front of dollars against hours, and every provider of the chosen GPU; each proven, the
    cheapest first."""
    focus = _focus(subject)
    if focus is None:
        return []
    found = _found(subject, focus)
    front = {id(one) for one in pareto(found)}
    return [_offer(subject, focus, one, id(one) in front) for one in found]


def _focus(subject: Subject) -> tuple[Candidate, Option] | None:
    made = subject.made
    if made is None:
        subject.lacks("other offers: the answer was read from a file")
        return None
    ways = zip(made.shown, made.options, strict=True)
    fitting = [(one, option) for one, option in ways if option.fits and one.bill is not None]
    paid = subject.index is not None and subject.trained is None
    focus = subject.trained or (None if paid else min(fitting, key=_nearest, default=None))
    if focus is None or focus[0].bill is None:
        subject.lacks(f"other offers: {_why_none(subject)}")
        return None
    return focus


def _why_none(subject: Subject) -> str:
    option = subject.option
    if option is None:
        return "nothing that trains fits and has a price"
    return "nothing is trained here" if option["run"] is None else "no price is known"


def _nearest(way: tuple[Candidate, Option]) -> tuple[float, float]:
    return way[0].order[:2]


def _found(subject: Subject, focus: tuple[Candidate, Option]) -> list[Candidate]:
    """Those that are shown, the cheapest first; the focus always among them."""
    own = focus[0]
    found = {own.names: own}
    for searched in _surveys(subject, own):
        for one in _shown(searched, own):
            found.setdefault(one.names, one)
    return sorted(found.values(), key=lambda one: one.order)


def _surveys(subject: Subject, own: Candidate) -> Iterator[Survey]:
    """Every GPU that can be rented; where one was asked for it alone on several, the others on as
    many as were asked for."""
    assert subject.made is not None
    made, question = subject.made, subject.made.problem.question
    strategy = own.placement.strategy
    asked = question.model_copy(update={"strategy": [strategy]})
    problem, hardware = made.problem.changed(asked), made.ways.survey.hardware
    counts = (question.gpus,) if "gpus" in question.model_fields_set else COUNTS
    yield survey(problem, hardware, counts=tuple({*counts, own.placement.parallel.devices}))
    if hardware.searched or own.offer.provider in NO_PROVIDER or question.exact:
        return
    try:
        specs = [
            spec
            for spec in rentable(question.model_copy(update={"gpu": None}))
            if spec.key != own.placement.spec.key
        ]
    except PlannerError as error:
        subject.lacks(f"other GPUs: {error}")
        return
    yield survey(problem, Hardware(specs, True), counts=(question.gpus,))


def _shown(searched: Survey, own: Candidate) -> list[Candidate]:
    """Proven candidates that no other beats, and what each provider asks for the own GPUs."""
    strategy, variant = own.placement.strategy, own.placement.variant.name
    while True:
        near = pareto(searched.may_be_on_front(strategy, variant))
        places = {one.placement.key for one in near} | {own.placement.key}
        wanted = [place for place in searched.places(strategy) if place.key in places]
        if all(place.is_proven or place.is_out for place in wanted):
            own_place = [place for place in wanted if place.key == own.placement.key]
            return [*near, *_by_provider(own_place)]
        searched.prove(wanted)


def _by_provider(places: list[Place]) -> list[Candidate]:
    """The cheapest of each provider."""
    cheapest: dict[str, Candidate] = {}
    found = [one for place in places for one in place.candidates]
    for one in sorted(found, key=lambda one: one.order):
        cheapest.setdefault(one.offer.provider, one)
    return list(cheapest.values())


def _offer(
    subject: Subject, focus: tuple[Candidate, Option], one: Candidate, on_front: bool
) -> Json:
    assert subject.made is not None
    offer, bill = one.offer, one.known_bill
    return {
        "strategy": one.placement.strategy,
        "gpu": one.placement.spec.name,
        "gpus": one.placement.parallel.devices,
        "provider": offer.provider,
        "instance_type": offer.instance_type or None,
        "usd": bill.usd.as_dict(),
        "wall_hours": one.run.wall_hours.as_dict(),
        "usd_per_gpu_hour": bill.usd_per_gpu_hour,
        "price_date": bill.price_date,
        "price_age_days": offer.age_days,
        "price_source": bill.price_source,
        "keeps_limits": subject.made.ways.keeps(one),
        "on_front": on_front,
        "chosen": subject.trained is not None and one is focus[0],
    }


def prices(offered: Iterable[Json]) -> list[Json]:
    """The prices that the offers stand on, by GPU, each once."""
    found: dict[tuple[str, str, float], Json] = {}
    for one in offered:
        key = (one["gpu"], one["provider"], one["usd_per_gpu_hour"])
        found.setdefault(
            key,
            {
                "provider": one["provider"],
                "gpu": one["gpu"],
                "usd_per_gpu_hour": one["usd_per_gpu_hour"],
                "date": one["price_date"],
                "age_days": one["price_age_days"],
                "stale": is_stale(one["price_age_days"]),
                "source": one["price_source"],
            },
        )
    return [found[key] for key in sorted(found, key=lambda key: (key[0], key[2], key[1]))]


def price_of(option: Json | None) -> list[Json]:
    """The recommended option's own price, where no offers are known."""
    cost = (option or {}).get("cost")
    if not option or not cost or cost["usd_per_gpu_hour"] is None or not cost["price_date"]:
        return []
    age = (cost["offer"] or {}).get("age_days") or 0
    return [
        {
            "provider": option["provider"] or "given",
            "gpu": option["gpu"],
            "usd_per_gpu_hour": cost["usd_per_gpu_hour"],
            "date": cost["price_date"],
            "age_days": age,
            "stale": is_stale(age),
            "source": cost["price_source"],
        }
    ]
