"""Candidates and what surrounds them as the JSON values of ``planner choose``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from planner import units
from planner.plan.by_token.paid_option import PaidOption
from planner.plan.limits import hours_allowed
from planner.plan.survey.candidate import Candidate
from planner.plan.survey.survey import Survey
from planner.plan.survey.ways import Ways
from planner.question import Question

#: Candidates of the front that are shown.
SHOWN = 12
Json = dict[str, Any]


def candidate_values(candidate: Candidate) -> Json:
    placement, offer, bill = candidate.placement, candidate.offer, candidate.known_bill
    setting = placement.shown
    return {
        "strategy": placement.strategy,
        "variant": placement.variant.name,
        "gpu": placement.spec.name,
        "gpu_key": placement.spec.key,
        "gpus": placement.parallel.devices,
        "provider": offer.provider,
        "instance_type": offer.instance_type or None,
        "region": offer.region,
        "spot": offer.spot,
        "micro_batch_size": setting.micro_batch,
        "gradient_accumulation": setting.accumulation,
        "gradient_checkpointing": setting.recipe.gradient_checkpointing,
        "precision": setting.recipe.precision,
        "epochs": candidate.run.epochs,
        "steps": candidate.run.steps,
        "global_batch_size": setting.step.samples,
        "wall_hours": candidate.run.wall_hours.as_dict(),
        "gpu_hours": candidate.run.gpu_hours.as_dict(),
        "usd": bill.usd.as_dict(),
        "breakdown": dict(bill.breakdown),
        "usd_per_gpu_hour": bill.usd_per_gpu_hour,
        "price_date": bill.price_date,
        "price_age_days": offer.age_days,
        "price_stale": offer.is_stale,
        "price_source": bill.price_source,
        "memory_bytes": _memory_bytes(candidate),
        "device_total_bytes": placement.spec.total_memory_bytes,
        "memory_proven": placement.proven,
        "warnings": list(dict.fromkeys([*candidate.run.warnings, *bill.warnings])),
    }


def _memory_bytes(candidate: Candidate) -> Json | None:
    placement = candidate.placement
    if not placement.proven:
        return None
    return placement.heaviest.proven_memory.device_used_bytes.as_dict()


def optional_values(candidate: Candidate | None) -> Json | None:
    return None if candidate is None else candidate_values(candidate)


def named(candidate: Candidate) -> str:
    placement = candidate.placement
    devices = placement.parallel.devices
    count = f"{devices} × " if devices > 1 else ""
    return f"{count}{placement.spec.name} at {candidate.offer.provider}"


def project_values(ways: Ways, candidate: Candidate) -> Json:
    """Serving beside the training, and the project of the months; nulls without serving."""
    serving = ways.serving[candidate.placement.strategy]
    project = ways.project_usd(candidate)
    if serving is None or serving.usd_per_month is None or project is None:
        return {"serving": None, "project_usd": None}
    rented = serving.rented
    return {
        "serving": {
            "gpu": rented.spec.name,
            "gpus": serving.serving.gpus,
            "provider": rented.offer.provider if rented.offer else None,
            "usd_per_month": serving.usd_per_month.as_dict(),
            "price_date": rented.offer.captured_date.isoformat() if rented.offer else None,
            "assumptions": list(serving.serving.assumptions),
        },
        "project_usd": project.as_dict(),
    }


def paid_values(option: PaidOption) -> Json:
    """What is paid by the token, among the strategies."""
    return {
        "strategy": option.strategy,
        "way": None,
        "why_not": None,
        "paid": {
            "variant": option.variant,
            "provider": option.provider,
            "usd": option.usd.as_dict(),
            "usd_per_request": usd_per_request(option),
            "price_date": price_date(option),
            "warnings": list(option.warnings),
        },
    }


def recommended_paid(option: PaidOption, reason: str) -> Json:
    """What is paid by the token, recommended."""
    return {
        "strategy": option.strategy,
        "variant": option.variant,
        "gpu": None,
        "gpus": 0,
        "provider": option.provider,
        "usd": option.usd.as_dict(),
        "price_date": price_date(option),
        "warnings": list(option.warnings),
        "why": reason,
    }


def usd_per_request(option: PaidOption) -> float | None:
    line = option.line
    return None if line is None else line.usd_per_request + line.metered_usd_per_request


def price_date(option: PaidOption) -> str | None:
    date = option.price.captured_date
    return date.isoformat() if date else None


def limits(question: Question) -> Json:
    return {
        "max_usd": question.max_usd,
        "hours": hours_allowed(question),
        "licences": question.licences,
    }


def surveyed(survey: Survey) -> Json:
    """How much was looked at."""
    candidates = survey.of()
    ages = [candidate.offer.age_days for candidate in candidates]
    providers = {candidate.offer.provider.partition("-")[0] for candidate in candidates}
    return {
        "ways": len(candidates),
        "places": len(survey.placed()),
        "gpus": len({candidate.placement.spec.key for candidate in candidates}),
        "providers": len(providers),
        "gpu_counts": list(survey.counts),
        "newest_price_days": min(ages, default=None),
        "oldest_price_days": max(ages, default=None),
    }


def thinned(front: Sequence[Candidate]) -> list[Candidate]:
    """At most ``SHOWN`` candidates of a front, evenly, with both ends."""
    if len(front) <= SHOWN:
        return list(front)
    return [front[round(i * (len(front) - 1) / (SHOWN - 1))] for i in range(SHOWN)]


def assumptions_of(survey: Survey, shown: Candidate | None) -> list[str]:
    general = [
        f"devices counted: {', '.join(map(str, survey.counts))}, on one host",
        "NVIDIA devices only where none is named: the time model was not held against others",
        "a price holds for its named offer, which may be sold out: the range reaches to the middle "
        "of the providers' prices",
    ]
    if shown is None:
        return general
    return [*general, *dict.fromkeys([*shown.placement.run.notes, *shown.known_bill.assumptions])]


def refusals(survey: Survey) -> list[str]:
    """What strategies cannot do on some devices, one sentence a reason."""
    devices: dict[str, list[str]] = {}
    strategies: dict[str, list[str]] = {}
    for (strategy, key), error in survey.refused.items():
        devices.setdefault(str(error), []).append(key)
        strategies.setdefault(str(error), []).append(strategy)
    return [
        f"{_left_out(strategies[reason])} on some devices: {reason} ({_few(keys)})"
        for reason, keys in devices.items()
    ]


def _left_out(strategies: Sequence[str]) -> str:
    names = list(dict.fromkeys(strategies))
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} left out"


def _few(keys: Sequence[str]) -> str:
    names = list(dict.fromkeys(keys))
    return f"{', '.join(names[:4])}{' and others' if len(names) > 4 else ''}"


def why_not(ways: Ways, strategy: str) -> str:
    """Why nothing of a strategy is advised."""
    survey = ways.survey
    any_one = survey.cheapest(strategy)
    if any_one is None:
        refused = [error for (name, _), error in survey.refused.items() if name == strategy]
        if refused:
            return str(refused[0])
        return "fits no device that is offered under these terms"
    allowed, serving = ways.allowed(strategy), ways.serving_usd(strategy)
    if allowed.usd is not None and any_one.usd > allowed.usd:
        cheapest = ways.project_usd(any_one) or any_one.known_bill.usd
        return (
            "the cheapest way costs "
            f"{units.format_usd(cheapest.p50)}{' with serving' if serving else ''}, "
            f"{named(any_one)}"
        )
    fastest = survey.fastest(strategy) or any_one
    if allowed.hours is not None and fastest.hours > allowed.hours:
        return f"the fastest way takes {_time(fastest)}, {named(fastest)}"
    return (
        f"no way keeps both limits: the cheapest takes {_time(any_one)}, the fastest costs "
        f"{units.format_usd(fastest.usd)}"
    )


def _time(candidate: Candidate) -> str:
    return units.format_seconds(candidate.hours * units.SECONDS_PER_HOUR)


def broken(document: Mapping[str, Any]) -> list[str]:
    """One sentence for each strategy that the limits forbid; empty where something is
    recommended."""
    if document["recommended"]:
        return []
    if document["licence"]:
        return [document["licence"]]
    forbidden = [
        f"{strategy['strategy']}: {strategy['why_not']}"
        for strategy in document["strategies"]
        if strategy.get("why_not")
    ]
    return forbidden or ["nothing can be done under these limits"]
