"""Where to serve what was trained: the device and offer that answer the asked requests for the
fewest dollars a month.

What is trained on one machine need not be served there, so training and serving are chosen each for
itself."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from planner.cost.token_bills import serving_default
from planner.errors import PlannerError, QuestionError
from planner.figures import Estimate
from planner.parallel.plan import ALONE
from planner.plan.inputs.hardware import RentedDevice
from planner.plan.placement.place import Placement
from planner.plan.serving import Serving, serve
from planner.plan.survey.places import Place
from planner.plan.survey.survey import Survey


@dataclass(frozen=True)
class ServingOffer:
    """A month of serving at an offer of one device's cheapest instance. ``usd_per_month`` None: no
    price is known."""

    rented: RentedDevice
    serving: Serving

    @property
    def usd_per_month(self) -> Estimate | None:
        return self.serving.usd_always_on


def cheapest_serving(survey: Survey, strategy: str) -> ServingOffer | None:
    """None where no requests are asked for. Raises PlannerError where no device can serve it."""
    question = survey.problem.question
    if question.requests_per_month is None:
        return None
    best: ServingOffer | None = None
    refused: PlannerError = QuestionError("fits no device")
    for rented, places in _by_price(survey, strategy):
        if best is not None and _usd(best) <= _least_usd(rented):
            break  # a server of this device alone costs more
        placement = next(filter(None, map(survey.promised, places)), None)
        if placement is None:
            continue
        try:
            found = _offered(survey, placement, rented)
        except PlannerError as error:
            refused = error
            continue
        if best is None or _usd(found) < _usd(best):
            best = found
    if best is None:
        raise refused
    return best


def _by_price(survey: Survey, strategy: str) -> Iterator[tuple[RentedDevice, list[Place]]]:
    """Each device at the cheapest instance of one, with the places that train on it; the cheapest
    first."""
    places: dict[str, list[Place]] = {}
    for place in survey.places(strategy):
        places.setdefault(place.spec.key, []).append(place)
    rented = [survey.market.of(own[0].spec, ALONE)[0] for own in places.values()]
    for one in sorted(rented, key=lambda one: (_least_usd(one), one.spec.key)):
        yield one, places[one.spec.key]


def _least_usd(rented: RentedDevice) -> float:
    """A month of one server; nothing where no price is known."""
    month = serving_default("hours_per_month")
    return 0.0 if rented.offer is None else rented.offer.usd_per_instance_hour * month


def _usd(offer: ServingOffer) -> float:
    """A month's median; infinite where no price is known."""
    return math.inf if offer.usd_per_month is None else offer.usd_per_month.p50


def _offered(survey: Survey, placement: Placement, rented: RentedDevice) -> ServingOffer:
    """Raises the errors of ``serve``."""
    problem, setting = survey.problem, placement.setting
    serving = serve(
        problem.question,
        problem.whole_source(setting.source),
        placement.spec,
        offer=rented.offer,
        prices=rented.prices,
        mean_tokens=problem.data.mean_length,
        micro_batch=setting.micro_batch,
    )
    return ServingOffer(rented, serving)
