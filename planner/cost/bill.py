"""Device-hours at a price: the bill, its parts, and what is not in it."""

from __future__ import annotations

from dataclasses import dataclass, field

from planner.cost.prices.offers import Offer
from planner.cost.quantities import Quantity
from planner.cost.terms import billed_hours, billing_rule
from planner.figures import Estimate

NOT_COUNTED = "tax, support contracts and people's time other than labelling are not in the cost"
#: Offers that are no provider's: nothing is rounded, stored or sent out at their price.
NO_PROVIDER = ("given", "owned")


@dataclass(frozen=True)
class SideCosts:
    """What a project pays beside the hours of one run. ``lost_gpu_hours`` are among those hours;
    ``extra_runs`` are whole runs more. ``quantities``: what labels, storage, egress and api are
    made of."""

    lost_gpu_hours: float = 0.0
    extra_runs: Estimate = field(default_factory=lambda: Estimate.exact(0.0))
    labels_usd: float = 0.0
    storage_usd: float = 0.0
    egress_usd: float = 0.0
    api_usd: float = 0.0
    assumptions: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    quantities: tuple[Quantity, ...] = ()


@dataclass(frozen=True)
class Bill:
    """USD of a run, and of what belongs to it. The breakdown sums to ``usd.p50``: compute (the
    run), lost_work (its share lost to interruptions), repeats (trials and failed runs), data
    (labels), storage, egress, api. ``paid_gpu_hours``: of one run, as the provider rounds them, at
    the median; ``extra_runs``: whole runs more; ``quantities``: what is paid beside the hours."""

    usd: Estimate
    breakdown: dict[str, float] = field(hash=False)
    usd_per_gpu_hour: float  # of the devices used: whole instances paid, spread over them
    price_source: str
    price_date: str  # ISO date
    assumptions: tuple[str, ...]
    warnings: tuple[str, ...]
    sources: tuple[str, ...] = ()
    paid_gpu_hours: float = 0.0
    extra_runs: float = 0.0
    quantities: tuple[Quantity, ...] = ()


def bill(
    gpu_hours: Estimate,
    offer: Offer,
    *,
    gpus: int = 1,
    prices: Estimate | None = None,
    api_usd: float = 0.0,
    side_costs: SideCosts | None = None,
) -> Bill:
    """The bill of ``gpu_hours`` device-hours (over all ``gpus`` used devices, one run) at an offer.

    ``prices`` (USD per device-hour over providers, from ``price_range``) widens the interval when
    the provider was the planner's choice and not the user's; the middle stays at the named offer.
    Time is rounded up as the provider rounds it, in every run; where that is not known the range
    reaches to the whole hour. ``api_usd`` is paid by the token.
    """
    side = side_costs or SideCosts()
    rate = offer.usd_per_hour_for(gpus) / gpus
    price = (
        Estimate.exact(rate)
        if prices is None
        else Estimate(min(rate, prices.p10), rate, max(rate, prices.p90))
    )
    hours, rounding, rounding_source = _on_the_bill(gpu_hours.scale(1 / gpus), offer)
    run = hours.scale(gpus) * price
    fixed = {
        "data": side.labels_usd,
        "storage": side.storage_usd,
        "egress": side.egress_usd,
        "api": api_usd + side.api_usd,
    }
    usd = run * (Estimate.exact(1.0) + side.extra_runs) + Estimate.exact(sum(fixed.values()))
    lost = min(1.0, side.lost_gpu_hours / gpu_hours.p50) if gpu_hours.p50 > 0 else 0.0
    breakdown = {
        "compute": run.p50 * (1 - lost),
        "lost_work": run.p50 * lost,
        "repeats": run.p50 * side.extra_runs.p50,
        **fixed,
    }
    source = f"{offer.provider} {offer.instance_type}".strip() + f", {offer.source}"
    return Bill(
        usd=usd,
        breakdown=breakdown,
        usd_per_gpu_hour=rate,
        price_source=source,
        price_date=offer.captured_date.isoformat(),
        assumptions=(NOT_COUNTED, *rounding, *side.assumptions),
        warnings=(*offer.caveats(gpus), *side.warnings),
        sources=(*rounding_source, *side.sources),
        paid_gpu_hours=hours.p50 * gpus,
        extra_runs=side.extra_runs.p50,
        quantities=side.quantities,
    )


def _on_the_bill(
    hours: Estimate, offer: Offer
) -> tuple[Estimate, tuple[str, ...], tuple[str, ...]]:
    """(hours that are paid, what to say of the rounding, its source)."""
    if offer.provider in NO_PROVIDER:
        return hours, (), ()
    rule = billing_rule(offer.provider, offer.instance_type)
    if rule is None:
        return (
            billed_hours(hours, None),
            (
                f"how {offer.provider} rounds time is not published: the cost's range reaches "
                "to the whole hour",
            ),
            (),
        )
    least = (
        f", at least {rule.minimum_seconds:g} s"
        if rule.minimum_seconds > rule.granularity_seconds
        else ""
    )
    return (
        billed_hours(hours, rule),
        (f"{offer.provider} bills by {rule.granularity_seconds:g} s{least}",),
        (rule.source,),
    )
