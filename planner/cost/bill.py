"""Device-hours at a price: the bill, its parts, and what is not in it."""

from __future__ import annotations

from dataclasses import dataclass, field

from planner.cost.offers import Offer
from planner.figures import Estimate

NOT_COUNTED = "storage, egress and labour are not counted yet"


@dataclass(frozen=True)
class Bill:
    """USD of a run. The breakdown (compute, data, storage, api) sums to ``usd.p50``."""

    usd: Estimate
    breakdown: dict[str, float] = field(hash=False)
    usd_per_gpu_hour: float  # of the devices used: whole instances paid, spread over them
    price_source: str
    price_date: str  # ISO date
    assumptions: tuple[str, ...]
    warnings: tuple[str, ...]


def bill(gpu_hours: Estimate, offer: Offer, *, gpus: int = 1, prices: Estimate | None = None, api_usd: float = 0.0) -> Bill:
    """The bill of ``gpu_hours`` device-hours (over all ``gpus`` used devices) at an offer.

    ``prices`` (USD per device-hour over providers, from ``price_range``) widens the interval when the provider was the
    planner's choice and not the user's; the middle stays at the named offer. ``api_usd`` is paid by the token.
    """
    rate = offer.usd_per_hour_for(gpus) / gpus
    price = Estimate.exact(rate) if prices is None else Estimate(min(rate, prices.p10), rate, max(rate, prices.p90))
    usd = gpu_hours * price + Estimate.exact(api_usd)
    breakdown = {"compute": usd.p50 - api_usd, "data": 0.0, "storage": 0.0, "api": api_usd}
    source = f"{offer.provider} {offer.instance_type}".strip() + f", {offer.source}"
    return Bill(usd, breakdown, rate, source, offer.captured_date.isoformat(), (NOT_COUNTED,), offer.caveats(gpus))
