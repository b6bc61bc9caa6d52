"""A machine of one's own as an offer: purchase over the hours that it will work, and
electricity."""

from __future__ import annotations

import datetime
import math

from planner.cost.energy import board_watts, power_overhead
from planner.cost.prices.offers import Offer
from planner.devices.specification import DeviceSpec
from planner.errors import FieldName, QuestionError
from planner.figures import Estimate
from planner.today import today

HOURS_PER_YEAR = 8766.0  # of 365.25 days
WATTS_PER_KW = 1000.0
#: Nobody owns a device for less than an hour, or longer than computers exist.
SHORTEST_YEARS, LONGEST_YEARS = 1e-3, 100.0
LEAST_UTILISATION = 1e-3


def owned(
    spec: DeviceSpec,
    *,
    usd: float,
    years: float,
    utilisation: float,
    usd_per_kwh: float,
    on_date: datetime.date | None = None,
    watts: Estimate | None = None,
) -> Offer:
    """An offer of single devices, whose source says what it is made of. ``usd`` is the price of one
    device with its share of the machine, ``utilisation`` the share of its hours that it works for
    somebody.

    Raises QuestionError for a price, a lifetime or a share that cannot be, and for a device whose
    power no source gives.
    """
    if not (
        usd >= 0
        and SHORTEST_YEARS <= years <= LONGEST_YEARS
        and LEAST_UTILISATION <= utilisation <= 1
        and usd_per_kwh >= 0
        and all(map(math.isfinite, (usd, years, usd_per_kwh)))
    ):
        raise QuestionError(
            "a purchase that cannot be",
            where=FieldName("owned_usd"),
            mend=f"Give a price, {SHORTEST_YEARS:g} to {LONGEST_YEARS:g} years, a utilisation of "
            f"{LEAST_UTILISATION:g} to 1, and USD per kWh",
        )
    if watts is None and spec.tdp_watts is None:
        raise QuestionError(
            f"the power of {spec.name} is not published, so its electricity cannot be priced",
            where=FieldName("owned_usd"),
            mend=f"Calibrate it, or give {FieldName('price')}",
        )
    power, overhead = board_watts(spec, watts)[0].p50, power_overhead(None)[0]
    purchase = usd / (years * HOURS_PER_YEAR * utilisation)
    electricity = power * overhead / WATTS_PER_KW * usd_per_kwh
    source = (
        f"{usd:,.0f} USD a GPU over {years:g} years at {utilisation:.0%} of the hours is "
        f"{purchase:.3g} USD a GPU-hour, electricity "
        f"{electricity:.2g} ({power:.0f} W × PUE {overhead:.2f} × {usd_per_kwh:g} USD/kWh); "
        "repairs, space and people are not counted"
    )
    day, rate = on_date or today(), purchase + electricity
    return Offer(
        provider="owned",
        region="any",
        instance_type="",
        gpu_key=spec.key,
        gpu_count=1,
        usd_per_gpu_hour=rate,
        usd_per_instance_hour=rate,
        spot=False,
        captured_date=day,
        age_days=0,
        source=source,
        price_type="owned",
    )
