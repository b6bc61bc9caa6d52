"""The parts of the document that look past training: serving, what a whole project costs, and where
ways cross."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from planner.plan.limits import limits_of
from planner.plan.options import Option
from planner.question import Question
from planner.today import today

if TYPE_CHECKING:
    from planner.cost.break_even import Crossing
    from planner.cost.token_bills import CostCurve
    from planner.plan.by_token.paid_option import PaidOption


def paid_document(question: Question, option: PaidOption) -> dict[str, Any]:
    """An option that trains nothing here, with the keys of one that does."""
    return {
        "strategy": option.strategy,
        "variant": option.variant,
        "gpu": None,
        "gpus": 0,
        "provider": option.provider,
        "fits": None,
        "basis": None,
        "model": None,
        "training": None,
        "memory": None,
        "step": None,
        "run": None,
        "cost": _paid_cost(question, option),
        "limits": [
            limit.as_dict()
            for limit in limits_of(
                question, usd=option.usd, fixed_usd=option.usd.p50, wall_hours=None
            )
        ],
        "energy_kwh": None,
        "co2_kg": None,
        "fixes": [],
        "scratch": None,
        "disk_bytes": None,
        "serving": None,
        "vector_store": option.store,
        "assumptions": list(dict.fromkeys(option.assumptions)),
        "warnings": list(dict.fromkeys(option.warnings)),
    }


def _paid_cost(question: Question, option: PaidOption) -> dict[str, Any]:
    date, load, line = option.price.captured_date, question.requests_per_month, option.line
    usd_per_month = None if line is None or load is None else line.monthly_usd(load)
    offer = {
        "instance_type": None,
        "region": None,
        "spot": False,
        "age_days": (today() - date).days if date else None,
        "source": option.price.source,
        "model": option.price.model,
        "confidence": option.price.confidence,
    }
    return {
        "usd": option.usd.as_dict(),
        "usd_per_gpu_hour": None,
        "breakdown": {"compute": 0.0, "data": 0.0, **option.parts},
        "price_source": f"{option.price.model}, {option.price.source}",
        "price_date": date.isoformat() if date else None,
        "offer": offer,
        "up_front_usd": option.up_front_usd,
        "project_usd": None if usd_per_month is None else option.usd.as_dict(),
        "usd_per_request": line.usd_per_request + line.metered_usd_per_request if line else None,
        "usd_per_month": usd_per_month,
    }


def paid_sources(options: Iterable[PaidOption]) -> list[dict[str, Any]]:
    found = {
        (subject, source): date for option in options for subject, source, date in option.sources
    }
    return [
        {"what": subject, "source": source, "date": date}
        for (subject, source), date in found.items()
    ]


def project_cost(question: Question, option: Option) -> dict[str, Any]:
    """Keys of ``cost`` for a model that is served here; none where no requests are asked for."""
    project, bill = option.project_usd(question.horizon_months), option.bill
    month = None if option.serving is None else option.serving.usd_always_on
    if project is None or bill is None or month is None:
        return {}
    return {
        "up_front_usd": bill.usd.p50,
        "project_usd": project.as_dict(),
        "usd_per_request": None,
        "usd_per_month": month.p50,
    }


def serving_document(option: Option) -> dict[str, Any] | None:
    serving = option.serving
    if serving is None:
        return None
    token, month, place = serving.token_seconds, serving.usd_always_on, option.served_on
    return {
        "gpu": place.spec.name if place else None,
        "provider": place.offer.provider if place and place.offer else None,
        "requests_per_month": serving.requests_per_month,
        "prompt_tokens": serving.prompt_tokens,
        "output_tokens": serving.output_tokens,
        "requests_at_once": serving.at_once,
        "prompt_seconds": serving.prompt_seconds.as_dict(),
        "token_seconds": token.as_dict() if token else None,
        "gpus": serving.gpus,
        "gpu_hours_per_month": serving.gpu_hours_per_month,
        "busy_gpu_hours_per_month": serving.busy_gpu_hours_per_month,
        "usd_per_month": month.as_dict() if month else None,
        "usd_per_month_when_busy": serving.usd_when_busy,
    }


def break_even_document(
    question: Question, options: Sequence[Option | PaidOption]
) -> dict[str, Any] | None:
    """The cheapest option of each strategy at the asked load, against each other; None where
    nothing can be compared."""
    load, months = question.requests_per_month, question.horizon_months
    if load is None:
        return None
    best: dict[str, tuple[str, float]] = {}
    lines = {
        _name(option): option.line
        for option in options
        if option.line is not None and option.fits is not False
    }
    for option in options:
        if _name(option) in lines:
            usd = lines[_name(option)].usd(load, months)
            if option.strategy not in best or usd < best[option.strategy][1]:
                best[option.strategy] = (_name(option), usd)
    names = [name for name, _ in best.values()]
    if len(names) < 2:
        return None
    from planner.cost.break_even import cheapest_by_load  # only where requests are asked for

    paid = [
        _name(option)
        for option in options
        if not isinstance(option, Option) and _name(option) in names
    ]
    return {
        "months": months,
        "cheapest": [
            {"option": c.way, "from_requests_per_month": c.from_requests_per_month}
            for c in cheapest_by_load({n: lines[n] for n in names}, months)
        ],
        "crossings": [
            {
                "cheaper_below": c.below,
                "cheaper_above": c.above,
                "requests_per_month": c.requests_per_month,
                "project_usd": c.project_usd,
                "again": c.again,
            }
            for c in _crossings(paid, [name for name in names if name not in paid], lines, months)
        ],
    }


def _crossings(
    paid: list[str], trained: list[str], lines: dict[str, CostCurve], months: float
) -> list[Crossing]:
    """Each way that is paid by the token against the others of its kind, and against the served
    model that it meets first: those that are served on one device cost nearly the same."""
    from planner.cost.break_even import crossing

    def meet(first: str, second: str) -> Crossing | None:
        return crossing((first, second), (lines[first], lines[second]), months)

    found = [meet(first, second) for i, first in enumerate(paid) for second in paid[i + 1 :]]
    for option in paid:
        met = [c for c in (meet(option, served) for served in trained) if c is not None]
        found.append(min(met, key=lambda c: (c.requests_per_month, c.project_usd), default=None))
    return [c for c in found if c is not None]


def _name(option: Option | PaidOption) -> str:
    """``lora on NVIDIA L4``, ``prompting, openai gpt-4.1-mini``."""
    variant = f", {option.variant}" if option.variant else ""
    return (
        f"{option.strategy}{variant} on {option.rented.spec.name}"
        if isinstance(option, Option)
        else f"{option.strategy}{variant}"
    )
