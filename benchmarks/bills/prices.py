"""Dollars of GPU hours at the list prices of one stated day."""

from __future__ import annotations

from datetime import date
from functools import cache

from planner import tables
from planner.cost.prices.offers import Offer, offers
from planner.figures import Estimate

#: GPUs that are rented together.
HOST_GPUS = 8


@cache
def price_date() -> date:
    """The day whose prices are taken, a row of ``facts.csv``: price rows are dated and stay, so
    that bills can be made again."""
    row = next(row for row in tables.rows("claims", "facts.csv") if row["key"] == "price_day")
    return date.fromisoformat(row["date"])


@cache
def list_prices(gpu: str, gpus: int = 1) -> tuple[Offer, Offer] | None:
    """(cheapest, dearest) on-demand offer of firm prices on ``price_date``, by USD per device-hour
    with whole instances."""
    found = [
        offer for offer in offers(gpu, gpus=gpus, on_date=price_date()) if not offer.is_marketplace
    ]
    by_provider: dict[str, Offer] = {}
    for offer in found:
        by_provider.setdefault(offer.provider, offer)
    return (
        (found[0], max(by_provider.values(), key=lambda o: o.usd_per_hour_for(gpus)))
        if found
        else None
    )


def usd(gpu: str, gpu_hours: Estimate) -> Estimate | None:
    """Dollars from the cheapest provider at p10 and p50 to the dearest at p90; None where nobody
    lists the device."""
    found = list_prices(gpu, HOST_GPUS)
    if found is None:
        return None
    low, high = (offer.usd_per_hour_for(HOST_GPUS) / HOST_GPUS for offer in found)
    return Estimate(gpu_hours.p10 * low, gpu_hours.p50 * low, gpu_hours.p90 * high)


def inverse(figure: Estimate) -> Estimate:
    return Estimate(1 / figure.p90, 1 / figure.p50, 1 / figure.p10)
