"""Where to serve what was trained: the device and offer that answer the asked requests for the
fewest dollars a month.

What is trained on one machine need not be served there, so training and serving are chosen each for
itself."""

from __future__ import annotations

from dataclasses import dataclass, replace

from planner.choose.market import Market, Place
from planner.cost.prices.offers import Offer
from planner.devices.specification import DeviceSpec
from planner.errors import PlannerError
from planner.figures import Estimate
from planner.plan.serving import Serving, serve


@dataclass(frozen=True)
class Served:
    """A month of serving at an offer of one device's cheapest instance."""

    spec: DeviceSpec
    offer: Offer
    serving: Serving

    @property
    def usd_per_month(self) -> Estimate:
        return self.serving.usd_always_on


def cheapest_serving(market: Market, strategy: str) -> Served | str | None:
    """None where no requests are asked for; a sentence where no device can serve it or its price is
    not known."""
    question = market.asked.question
    if question.requests_per_month is None:
        return None
    places: dict[str, Place] = {}
    for place in market.places.values():
        if place.strategy == strategy:
            places.setdefault(place.spec.key, place)
    served, why = [], "fits no device"
    for place in places.values():
        try:
            served.append(_served(market, place))
        except PlannerError as error:
            why = str(error)
    return min(served, key=lambda one: one.usd_per_month.p50) if served else why


def _served(market: Market, place: Place) -> Served:
    """Raises the errors of ``serve``."""
    asked, setting, offer = market.asked, place.settings[-1], market.offered(place.spec, 1)[0]
    whole = replace(setting.recipe, variant=None)  # cached features need their backbone again
    source = (
        setting.source if whole == setting.recipe else asked.source(whole, setting.source.facts)
    )
    serving = serve(
        asked.question, source, place.spec, offer, None, asked.data.mean_length, setting.micro_batch
    )
    return Served(place.spec, offer, serving)
