"""Every known price as a list: what is offered today, what is not and why, and where sources
disagree."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from planner import tables
from planner.cost.prices.offers import Offer, check_region, in_force, is_provider, offers
from planner.cost.prices.tables import price_rows, providers
from planner.devices.specification import all_devices
from planner.errors import UnknownNameError
from planner.today import today

#: Prices whose ratio is below this differ by rounding.
SAME_PRICE = 1.001


@dataclass(frozen=True)
class Listed:
    """One price. ``status``: offered, superseded (a newer or fresher one stands in for it), refused
    (``reason`` says why)."""

    provider: str
    gpu_key: str
    gpu: str
    instance_type: str
    region: str
    gpu_count: int | None
    usd_per_gpu_hour: float | None
    usd_per_instance_hour: float | None
    spot: bool
    commitment: str
    captured_date: str
    age_days: int | None
    stale: bool
    status: str
    reason: str
    source: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Disagreement:
    """One provider's price of one device by several sources: the cheapest of the newest day that
    each of them knows."""

    provider: str
    gpu_key: str
    spot: bool
    usd_per_gpu_hour: dict[str, float]  # by source
    dates: dict[str, str]
    ratio: float  # highest over lowest

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def price_list(
    *,
    gpu_key: str | None = None,
    provider: str | None = None,
    region: str | None = None,
    spot: bool | None = None,
    on_date: datetime.date | None = None,
    everything: bool = False,
) -> list[Listed]:
    """Prices by device and then by USD a GPU-hour. ``spot`` None: both. ``everything``: also
    what is not offered. Raises UnknownNameError for a device or provider that no table has."""
    day = on_date or today()
    _check_provider(provider)
    check_region(region)
    keys = [gpu_key] if gpu_key else [spec.key for spec in all_devices()]
    markets = (False, True) if spot is None else (spot,)
    listed = [
        _of_offer(offer)
        for key in keys
        for is_spot in markets
        for offer in _offered(key, provider, region, is_spot, day)
    ]
    if everything:
        seen = {_identity(price) for price in listed}
        others = (
            _of_row(row, is_spot, day)
            for row in price_rows()
            for is_spot in markets
            if _wanted(row, gpu_key, provider, region)
        )
        listed += [price for price in others if price is not None and _identity(price) not in seen]
    order = {key: place for place, key in enumerate(keys)}
    return sorted(
        listed,
        key=lambda price: (
            order.get(price.gpu_key, math.inf),
            price.usd_per_gpu_hour or math.inf,
            price.provider,
            price.region,
        ),
    )


def _identity(price: Listed) -> tuple[str | bool, ...]:
    """What two prices of one row share."""
    return (
        price.provider,
        price.gpu_key,
        price.instance_type,
        price.region,
        price.spot,
        price.commitment,
        price.captured_date,
        price.source,
    )


def _offered(
    key: str, provider: str | None, region: str | None, spot: bool, day: datetime.date
) -> list[Offer]:
    """On demand, marketplaces' asks, and every commitment."""
    terms = sorted(
        {row.get("commitment") or "" for row in price_rows() if row["gpu_key"] == key} | {""}
    )
    found = [
        offer
        for term in terms
        for offer in offers(
            key, provider=provider, region=region, spot=spot, on_date=day, commitment=term or None
        )
    ]
    for name in [] if provider else _marketplaces():
        found += [
            offer
            for offer in offers(key, provider=name, region=region, spot=spot, on_date=day)
            if offer.is_marketplace
        ]
    return list(dict.fromkeys(found))


def _marketplaces() -> tuple[str, ...]:
    return tuple(
        sorted({row["provider"] for row in price_rows() if row["kind"] == "marketplace ask"})
    )


def _check_provider(provider: str | None) -> None:
    if provider is not None and not any(is_provider(name, provider) for name in providers()):
        raise UnknownNameError(
            "provider", provider, providers(), mend=f"Known: {', '.join(providers())}"
        )


def _wanted(
    row: dict[str, str], gpu_key: str | None, provider: str | None, region: str | None
) -> bool:
    name = row["provider"]
    return (
        (gpu_key is None or row["gpu_key"] == gpu_key)
        and (region is None or row["region"] in ("any", region))
        and (provider is None or is_provider(name, provider))
    )


def _of_offer(offer: Offer) -> Listed:
    reason = "; ".join(
        text for text in offer.caveats(offer.gpu_count or 1) if "days old" not in text
    )
    return Listed(
        provider=offer.provider,
        gpu_key=offer.gpu_key,
        gpu=_names().get(offer.gpu_key, offer.gpu_key),
        instance_type=offer.instance_type,
        region=offer.region,
        gpu_count=offer.gpu_count,
        usd_per_gpu_hour=offer.usd_per_gpu_hour,
        usd_per_instance_hour=offer.usd_per_instance_hour,
        spot=offer.spot,
        commitment=offer.commitment,
        captured_date=offer.captured_date.isoformat(),
        age_days=offer.age_days,
        stale=offer.is_stale,
        status="offered",
        reason=reason,
        source=offer.source,
    )


@cache
def _names() -> dict[str, str]:
    return {spec.key: spec.name for spec in all_devices()}


def _of_row(row: dict[str, str], spot: bool, day: datetime.date) -> Listed | None:
    """A row that is not offered, with why; None where it has no such price."""
    cell = row["spot_usd_per_instance_hour" if spot else "usd_per_instance_hour"]
    if not cell:
        return None
    price, count = float(cell), int(float(row["gpu_count"])) if row["gpu_count"] else None
    captured = datetime.date.fromisoformat(row["captured_date"]) if row["captured_date"] else None
    why = refusal(row, price, day)
    each = price / count if count else None
    return Listed(
        provider=row["provider"],
        gpu_key=row["gpu_key"],
        gpu=row["gpu"],
        instance_type=row["instance_type"],
        region=row["region"],
        gpu_count=count,
        usd_per_gpu_hour=each,
        usd_per_instance_hour=price,
        spot=spot,
        commitment=row.get("commitment") or "",
        captured_date=row["captured_date"],
        age_days=(day - captured).days if captured else None,
        stale=False,
        status="refused" if why else "superseded",
        reason=why or "a newer or fresher price of this provider stands in for it",
        source=row["source"],
    )


def refusal(row: dict[str, str], price: float, day: datetime.date) -> str:
    """Why a price is never offered, "" where it may be."""
    if row["unusable"]:
        return row["unusable"]
    if not row["gpu_key"]:
        return f"which GPU {row['gpu']!r} is cannot be told"
    if not (math.isfinite(price) and price > 0):
        return "a price that is not above zero"
    if not row["captured_date"]:
        return "undated"
    return "" if in_force(row, day) else "not in force on this date"


def disagreements(rows: Iterable[dict[str, str]] | None = None) -> list[Disagreement]:
    """Where sources give different prices for one provider's device, most different first. Undated
    and superseded rows count here: that they disagree is the point; commitments do not, being other
    goods."""
    cheapest: dict[tuple[str, str, bool], dict[str, tuple[float, str]]] = {}
    for row in price_rows() if rows is None else rows:
        if (
            not row["gpu_key"]
            or row.get("commitment")
            or row["unusable"] not in ("", "undated")
            or not row["gpu_count"]
        ):
            continue
        for spot in (False, True):
            price = tables.number(
                row["spot_usd_per_instance_hour" if spot else "usd_per_instance_hour"]
            )
            if price is None or price <= 0:
                continue
            by_source = cheapest.setdefault((row["provider"], row["gpu_key"], spot), {})
            each, name = price / float(row["gpu_count"]), source_name(row["source"])
            known, day = by_source.get(name, (math.inf, ""))
            if row["captured_date"] > day or (row["captured_date"] == day and each < known):
                by_source[name] = each, row["captured_date"]
    found = [
        Disagreement(
            provider=provider,
            gpu_key=gpu_key,
            spot=spot,
            usd_per_gpu_hour={name: price for name, (price, _) in prices.items()},
            dates={name: day or "undated" for name, (_, day) in prices.items()},
            ratio=_ratio(prices),
        )
        for (provider, gpu_key, spot), prices in cheapest.items()
        if len(prices) > 1
    ]
    different = (entry for entry in found if entry.ratio > SAME_PRICE)
    return sorted(different, key=lambda entry: -entry.ratio)


def _ratio(prices: dict[str, tuple[float, str]]) -> float:
    values = [price for price, _ in prices.values()]
    return max(values) / min(values)


def source_name(source: str) -> str:
    """The project or page that a source sentence begins with: the name that rows of one origin
    share."""
    return re.split(r"[@ ,;(]", source.strip(), maxsplit=1)[0] or source
