"""One question at every provider of every device that can be rented: hours planned once a device, billed at each provider."""

from __future__ import annotations

from dataclasses import dataclass

from planner.cost.bill import Bill
from planner.cost.offers import Offer, offers
from planner.errors import PlannerError
from planner.plan.asked import Asked
from planner.plan.billing import project_bill, with_interruptions
from planner.plan.hardware import rentable
from planner.plan.options import Option, options_for
from planner.plan.search import lengths_of


@dataclass(frozen=True)
class Cell:
    """One device at one provider: the option as planned there, its offer, its bill."""

    option: Option
    offer: Offer
    bill: Bill


def everywhere(asked: Asked, strategy: str) -> tuple[list[Cell], dict[str, str]]:
    """(cells, cheapest first; device → why it cannot). Of each provider its cheapest offer of a device. Devices without enough
    memory have cells too: their option says that it does not fit. Raises QuestionError where nothing is offered."""
    question, cells, refused = asked.question, [], {}
    for rented in rentable(question):
        try:
            option = options_for(asked, strategy, rented)[0]
        except PlannerError as error:
            refused[rented.spec.key] = str(error)
            continue
        cells += [Cell(option, offer, _bill(asked, option, offer)) for offer in _one_a_provider(asked, rented.spec.key)]
    order = sorted(cells, key=lambda cell: (not cell.option.fits, cell.bill.usd.p50, cell.offer.provider))
    return [cell for cell in order if question.provider is None or _is(cell.offer.provider, question.provider)], refused


def _one_a_provider(asked: Asked, key: str) -> list[Offer]:
    question = asked.question
    cheapest: dict[str, Offer] = {}
    for offer in offers(key, gpus=question.gpus, provider=question.provider, region=question.region, spot=question.spot, commitment=question.commitment):
        cheapest.setdefault(offer.provider, offer)  # they come cheapest first
    return list(cheapest.values())


def _bill(asked: Asked, option: Option, offer: Offer) -> Bill:
    """The option's run at another provider: without the interruptions of its own offer, with those of this one."""
    setting, gpus = option.setting, option.rented.gpus
    checkpoint = setting.source.at(B=setting.micro_batch, **lengths_of(setting.batches)[0]).meta["checkpoint_bytes"]
    run = with_interruptions(asked.question, option.undisturbed, offer, gpus, checkpoint)
    return project_bill(asked.question, run, offer, gpus, None, data=asked.data, checkpoint_bytes=checkpoint, disk_bytes=option.disk_bytes or 0)


def _is(name: str, wanted: str) -> bool:
    return name == wanted.lower() or name.startswith(wanted.lower() + "-")
