"""What surrounds a price per hour: how time is rounded on the bill, what storage and egress cost,
how often spot is taken away.

Rows of ``profiles/prices/terms/``, a provider each. A provider without a row is unknown, never
free.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from planner import tables
from planner.cost.token_bills import serving_default
from planner.figures import Estimate
from planner.units import GIB, SECONDS_PER_HOUR


@dataclass(frozen=True)
class BillingRule:
    """Time is rounded up to ``granularity_seconds`` and is at least ``minimum_seconds``."""

    granularity_seconds: float
    minimum_seconds: float
    source: str

    def billed_hours(self, hours: float) -> float:
        """The hours on the bill of one instance that ran this long. A run of no time costs
        nothing."""
        if hours <= 0:
            return 0.0
        seconds = max(self.minimum_seconds, hours * SECONDS_PER_HOUR)
        return (
            math.ceil(round(seconds / self.granularity_seconds, 9))
            * self.granularity_seconds
            / SECONDS_PER_HOUR
        )


#: What an unknown provider may round to: the coarsest in use among clouds that publish it.
HOURLY = BillingRule(
    SECONDS_PER_HOUR, SECONDS_PER_HOUR, "no source: rounding to the whole hour taken as the worst"
)


@lru_cache(maxsize=1024)
def billing_rule(provider: str, instance_type: str = "") -> BillingRule | None:
    """How a provider rounds the time of this instance type; None where no source says."""
    found = [
        row
        for row in _of(provider, "billing.csv")
        if instance_type.startswith(row["instance_prefix"])
    ]
    row = max(found, key=lambda row: len(row["instance_prefix"]), default=None)
    return (
        None
        if row is None
        else BillingRule(
            float(row["granularity_seconds"]), float(row["minimum_seconds"]), row["source"]
        )
    )


def billed_hours(hours: Estimate, rule: BillingRule | None) -> Estimate:
    """Hours on the bill. Without a rule the middle is not rounded and the high end is, to the whole
    hour."""
    if rule is not None:
        return Estimate(*(rule.billed_hours(value) for value in (hours.p10, hours.p50, hours.p90)))
    return Estimate(hours.p10, hours.p50, max(hours.p50, HOURLY.billed_hours(hours.p90)))


@dataclass(frozen=True)
class Rate:
    """USD of a GiB (stored for a month, or sent out), and how many GiB a month are free."""

    usd_per_gib: float
    free_gib: float
    source: str


@lru_cache(maxsize=256)
def storage_rate(provider: str) -> Rate | None:
    """USD per GiB-month of the provider's storage; None where no source says."""
    rows = _of(provider, "storage.csv")
    return (
        Rate(
            float(rows[0]["usd_per_gib_month"]),
            0.0,
            f"{rows[0]['kind']} storage: {rows[0]['source']}",
        )
        if rows
        else None
    )


@lru_cache(maxsize=256)
def egress_rate(provider: str) -> Rate | None:
    """USD per GiB sent to the internet; None where no source says."""
    rows = _of(provider, "egress.csv")
    return (
        Rate(float(rows[0]["usd_per_gib"]), float(rows[0]["free_gib_per_month"]), rows[0]["source"])
        if rows
        else None
    )


def storage_usd(size_bytes: float, hours: float, rate: Rate) -> float:
    """USD of keeping this much for this long."""
    return gib_months(size_bytes, hours) * rate.usd_per_gib


def gib_months(size_bytes: float, hours: float) -> float:
    """What storage is paid by."""
    return size_bytes / GIB * hours / serving_default("hours_per_month")


def egress_usd(size_bytes: float, rate: Rate) -> float:
    """USD of sending this much out within one month, after what is free."""
    return paid_gib(size_bytes, rate) * rate.usd_per_gib


def paid_gib(size_bytes: float, rate: Rate) -> float:
    """Of what is sent out within one month, after what is free."""
    return max(0.0, size_bytes / GIB - rate.free_gib)


@lru_cache(maxsize=1024)
def interruptions_per_day(provider: str, gpu_key: str) -> tuple[Estimate, str] | None:
    """(spot interruptions a day of one instance, their source), None where nobody measured them."""
    for row in _of(provider, "interruptions.csv"):
        if row["gpu_key"] == gpu_key:
            low, high = float(row["low_per_day"]), float(row["high_per_day"])
            return Estimate(low, math.sqrt(low * high), high), f"{row['source']}: {row['basis']}"
    return None


def _of(provider: str, table: str) -> list[dict[str, str]]:
    """Rows of a provider, or of the head of its family (``runpod`` for ``runpod-secure``)."""
    rows = tables.rows("prices", "terms", table)
    return [row for row in rows if row["provider"] == provider] or [
        row for row in rows if row["provider"] == provider.partition("-")[0]
    ]
