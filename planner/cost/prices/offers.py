"""What providers ask for a device: one CSV a provider under ``profiles/prices/``, found by
globbing, dated, never overwritten.

List prices in USD, Linux, without egress, storage, tax or committed-use discount. Whole instances
are what is rented: two devices of an eight-device instance cost the eight.
"""

from __future__ import annotations

import datetime
import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from planner import tables
from planner.cost.prices.tables import instance_sizes, price_rows, providers, rows_by_gpu
from planner.errors import FieldName, QuestionError, UnknownNameError
from planner.figures import Estimate
from planner.moment import once
from planner.today import today

__all__ = ["Offer", "given", "no_offer", "offers", "price_range", "price_rows", "providers"]

# an older price prints its age and yields to a fresher one of the same provider and device
STALE_DAYS = 90
# the type of a row whose price is per device, whatever the instance holds
PER_GPU = "per-GPU index row"


@dataclass(frozen=True)
class Offer:
    """One price. ``gpu_count`` is the devices of the instance; None where the source gives a price
    per device without the instance's size, which then counts as rentable one by one and says so in
    ``caveats``."""

    provider: str
    region: str  # "any" where the price is the same everywhere
    instance_type: str
    gpu_key: str
    gpu_count: int | None
    usd_per_gpu_hour: float
    usd_per_instance_hour: float
    spot: bool
    captured_date: datetime.date
    age_days: int
    source: str
    price_type: str
    commitment: str = ""  # "" on demand, else the term that is committed to
    valid_until: datetime.date | None = None  # of a contract: until then its price does not age
    ram_gib: float | None = None  # of the instance's host
    own: bool = False  # from the user's own tables

    def instances_for(self, gpus: int) -> int:
        """Whole instances that hold this many devices."""
        return math.ceil(gpus / (self.gpu_count or 1))

    def usd_per_hour_for(self, gpus: int) -> float:
        """USD an hour of the whole instances that hold this many devices."""
        return self.instances_for(gpus) * self.usd_per_instance_hour

    @property
    def is_stale(self) -> bool:
        return self.age_days > STALE_DAYS and self.valid_until is None

    @property
    def is_marketplace(self) -> bool:
        return self.price_type == "marketplace ask" or self.instance_type.startswith("marketplace")

    def unused(self, gpus: int) -> int:
        """GPUs that are paid and not used, since instances are rented whole."""
        return self.instances_for(gpus) * (self.gpu_count or 1) - gpus

    def caveats(self, gpus: int) -> tuple[str, ...]:
        """What the reader must know of this price, one sentence each."""
        found = []
        if self.is_stale:
            found.append(
                f"the price of {self.provider} is {self.age_days} days old ({self.captured_date})"
            )
        if self.gpu_count is None:
            found.append(f"{self.provider} states a price per GPU, not the size of its instances")
        if unused := self.unused(gpus):
            found.append(
                f"{self.provider} rents {self.gpu_count} GPUs at a time: {unused} are paid and "
                "not used"
            )
        if self.is_marketplace:
            found.append("a marketplace price is one ask at one moment")
        if self.spot:
            found.append("spot instances can be taken away")
        if self.commitment:
            found.append(
                f"the price of {self.provider} is for a commitment ({self.commitment}), paid "
                "whether used or not"
            )
        if self.valid_until is not None:
            found.append(f"the price of {self.provider} holds until {self.valid_until}")
        return tuple(found)


def offers(
    gpu_key: str,
    *,
    gpus: int = 1,
    provider: str | None = None,
    region: str | None = None,
    spot: bool = False,
    on_date: datetime.date | None = None,
    commitment: str | None = None,
) -> list[Offer]:
    """Offers of a device as known on a date, cheapest for this many devices first; empty where
    nobody offers it.

    ``provider`` also takes the head of a family (``runpod`` for ``runpod-secure``). A price without
    a date, after ``on_date``, or refused by its table is never returned; a marketplace's only when
    it is named or nobody else offers the device, since one ask at one moment is not a price to plan
    on. Prices under a commitment come only when ``commitment`` names it, but for the user's own
    contracts, which come where they are in force. Raises UnknownNameError for a provider or device
    that no table has.
    """
    day = on_date or today()
    asked = gpu_key, gpus, provider, region, spot, day, commitment
    # one answer asks for the same offers some hundred times
    return list(once(f"offers {asked}", lambda: _offers(*asked)))


def _offers(
    gpu_key: str,
    gpus: int,
    provider: str | None,
    region: str | None,
    spot: bool,
    day: datetime.date,
    commitment: str | None,
) -> list[Offer]:
    _check_names(gpu_key, provider)
    if all(row["region"] != region for row in rows_by_gpu().get(gpu_key, ())):
        check_region(region)
    found = [
        _offer(row, gpu_key, spot, day)
        for row in rows_by_gpu().get(gpu_key, ())
        if _wanted(row, provider, region, spot, day) and _committed(row, commitment)
    ]
    current = _current(found)
    firm = [offer for offer in current if not offer.is_marketplace]
    chosen = current if provider or not firm else firm
    return sorted(
        chosen,
        key=lambda offer: (
            offer.usd_per_hour_for(gpus),
            offer.provider,
            offer.region,
            offer.instance_type,
        ),
    )


def given(usd_per_gpu_hour: float, gpu_key: str, *, on_date: datetime.date | None = None) -> Offer:
    """The price that the user gave, as an offer of single devices. Raises QuestionError for a
    negative or endless price."""
    if not (math.isfinite(usd_per_gpu_hour) and usd_per_gpu_hour >= 0):
        raise QuestionError(
            f"{usd_per_gpu_hour} is not a price",
            where="price",
            mend="Give USD per GPU-hour, for example 2.50",
        )
    return Offer(
        provider="given",
        region="any",
        instance_type="",
        gpu_key=gpu_key,
        gpu_count=1,
        usd_per_gpu_hour=usd_per_gpu_hour,
        usd_per_instance_hour=usd_per_gpu_hour,
        spot=False,
        captured_date=on_date or today(),
        age_days=0,
        source="given with the question",
        price_type="given",
    )


def price_range(found: Iterable[Offer], gpus: int = 1) -> Estimate | None:
    """Spread over providers (the cheapest offer of each) of USD per wanted device-hour: for a
    question that chose no provider."""
    cheapest: dict[str, float] = {}
    for offer in found:
        price = offer.usd_per_hour_for(gpus) / gpus
        # runpod-secure and runpod-community are one provider
        family = offer.provider.partition("-")[0]
        cheapest[family] = min(price, cheapest.get(family, math.inf))
    if not cheapest:
        return None
    prices = sorted(cheapest.values())
    if len(prices) == 1:
        return Estimate.exact(prices[0])
    deciles = statistics.quantiles(prices, n=10, method="inclusive")
    return Estimate(deciles[0], statistics.median(prices), deciles[-1])


def no_offer(
    gpu_key: str,
    *,
    provider: str | None = None,
    region: str | None = None,
    spot: bool = False,
    on_date: datetime.date | None = None,
) -> QuestionError:
    """The refusal for a question that no offer answers, naming where the device can be had. Raises
    UnknownNameError as ``offers``."""
    wanted = " ".join(filter(None, ["spot" if spot else "", provider, region])) or "any provider"
    anywhere = offers(gpu_key, provider=provider, spot=spot, on_date=on_date) or offers(
        gpu_key, on_date=on_date
    )
    places = dict.fromkeys(f"{offer.provider} ({offer.region})" for offer in anywhere)
    mend = (
        f"Give {FieldName('price')}, or take {', '.join(list(places)[:4])}"
        if places
        else f"Give the price with {FieldName('price')}"
    )
    return QuestionError(f"no price of {gpu_key} is known at {wanted}", where="price", mend=mend)


def _check_names(gpu_key: str, provider: str | None) -> None:
    if provider is not None and not any(is_provider(name, provider) for name in providers()):
        raise UnknownNameError(
            "provider", provider, providers(), mend=f"Known: {', '.join(providers())}"
        )
    known = {row["key"] for row in tables.rows("gpus", "gpus.csv")}
    if gpu_key not in known:
        raise UnknownNameError("GPU", gpu_key, known)


def check_region(region: str | None) -> None:
    """Raises UnknownNameError for a region that neither a price nor a grid is known of: what is
    misspelt would be priced anywhere."""
    if region is None:
        return
    grids = {row["code"] for row in tables.rows("carbon", "carbon.csv")}
    known = {row["region"] for row in price_rows()} | grids
    if region.lower() not in {name.lower() for name in known}:
        raise UnknownNameError("region", region, known - {"any", ""})


def is_provider(name: str, wanted: str) -> bool:
    """Whether a table's provider is the wanted one, or of its family."""
    return name == wanted.lower() or name.startswith(wanted.lower() + "-")


def _wanted(
    row: dict[str, str], provider: str | None, region: str | None, spot: bool, day: datetime.date
) -> bool:
    price = tables.number(row["spot_usd_per_instance_hour" if spot else "usd_per_instance_hour"])
    return (
        price is not None
        and math.isfinite(price)
        and price > 0
        and in_force(row, day)
        and (provider is None or is_provider(row["provider"], provider))
        and (region is None or row["region"] in ("any", region))
    )


def in_force(row: dict[str, str], day: datetime.date) -> bool:
    """Whether a row's price was known and valid on a date."""
    captured, start, end = (
        datetime.date.fromisoformat(row[key]) if row.get(key) else None
        for key in ("captured_date", "valid_from", "valid_until")
    )
    return (
        captured is not None
        and captured <= day
        and (start is None or start <= day)
        and (end is None or day <= end)
    )


def _committed(row: dict[str, str], commitment: str | None) -> bool:
    own = row.get("commitment") or ""
    return own == (commitment or "") or (commitment is None and bool(row.get("own")))


def _offer(row: dict[str, str], gpu_key: str, spot: bool, day: datetime.date) -> Offer:
    stated = int(float(row["gpu_count"]))
    price = float(row["spot_usd_per_instance_hour" if spot else "usd_per_instance_hour"])
    count = (
        instance_sizes().get((row["provider"], row["instance_type"]))
        if row["kind"] == PER_GPU
        else stated
    )
    captured = datetime.date.fromisoformat(row["captured_date"])
    until = datetime.date.fromisoformat(row["valid_until"]) if row.get("valid_until") else None
    return Offer(
        provider=row["provider"],
        region=row["region"],
        instance_type=row["instance_type"],
        gpu_key=gpu_key,
        gpu_count=count,
        usd_per_gpu_hour=price / stated,
        usd_per_instance_hour=price / stated * (count or 1),
        spot=spot,
        captured_date=captured,
        age_days=(day - captured).days,
        source=row["source"],
        price_type=row["kind"],
        commitment=row.get("commitment") or "",
        valid_until=until,
        ram_gib=tables.number(row["ram_gib"]),
        own=bool(row.get("own")),
    )


def _current(found: list[Offer]) -> list[Offer]:
    """One offer an instance type and region, the newest, of one day the one that states the
    instance's price; and no stale price of a provider that has a fresh one for an instance as
    small, since prices have moved by half within a year."""
    newest: dict[tuple[str, str, str, str], Offer] = {}
    for offer in sorted(
        found, key=lambda offer: (offer.captured_date, offer.price_type != PER_GPU)
    ):
        newest[offer.provider, offer.region, offer.instance_type, offer.commitment] = offer
    smallest: dict[str, int] = {}
    for offer in newest.values():
        if not offer.is_stale:
            smallest[offer.provider] = min(
                offer.gpu_count or 1, smallest.get(offer.provider, offer.gpu_count or 1)
            )
    return [
        offer
        for offer in newest.values()
        if not offer.is_stale or (offer.gpu_count or 1) < smallest.get(offer.provider, math.inf)
    ]
