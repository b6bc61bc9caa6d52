"""Where to serve what was trained: the device and offer that answer the asked requests for the
fewest dollars a month.

What is trained on one machine need not be served there, so training and serving are chosen each for
itself."""

from __future__ import annotations

from dataclasses import dataclass

from planner.choose.survey import Survey
from planner.cost.prices.offers import Offer
from planner.devices.specification import DeviceSpec
from planner.errors import PlannerError, QuestionError
from planner.figures import Estimate
from planner.plan.placement.place import Placement
from planner.plan.serving import Serving, serve


@dataclass(frozen=True)
class ServingOffer:
    """A month of serving at an offer of one device's cheapest instance."""

    spec: DeviceSpec
    offer: Offer
    serving: Serving
    usd_per_month: Estimate


def cheapest_serving(survey: Survey, strategy: str) -> ServingOffer | None:
    """None where no requests are asked for. Raises PlannerError where no device can serve it or its
    price is not known."""
    if survey.problem.question.requests_per_month is None:
        return None
    placements: dict[str, Placement] = {}
    for placement in survey.placements.values():
        if placement.strategy == strategy:
            placements.setdefault(placement.spec.key, placement)
    found: list[ServingOffer] = []
    refused: PlannerError = QuestionError("fits no device")
    for placement in placements.values():
        try:
            found.append(_offered(survey, placement))
        except PlannerError as error:
            refused = error
    if not found:
        raise refused
    return min(found, key=lambda offer: offer.usd_per_month.p50)


def _offered(survey: Survey, placement: Placement) -> ServingOffer:
    """Raises the errors of ``serve``."""
    problem, setting = survey.problem, placement.setting
    offer = survey.offered(placement.spec, 1)[0]
    serving = serve(
        problem.question,
        problem.whole_source(setting.source),
        placement.spec,
        offer=offer,
        prices=None,
        mean_tokens=problem.data.mean_length,
        micro_batch=setting.micro_batch,
    )
    if serving.usd_always_on is None:
        raise QuestionError("no price of serving is known", where=placement.spec.name)
    return ServingOffer(placement.spec, offer, serving, serving.usd_always_on)
