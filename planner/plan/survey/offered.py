"""What each device is offered at under the question's terms, an offer for each way of billing it,
and the machines that it stands in there."""

from __future__ import annotations

from dataclasses import replace

from planner.cost.bill import NO_PROVIDER
from planner.cost.machines import machine_of
from planner.cost.prices.offers import Offer, price_range
from planner.cost.terms import BillingRule, billing_rule
from planner.devices.specification import DeviceSpec, Machine
from planner.errors import QuestionError
from planner.figures import Estimate
from planner.parallel.network import network_of
from planner.parallel.network.link import Link
from planner.parallel.plan import ParallelPlan
from planner.plan.inputs.hardware import RentedDevice, offered
from planner.question import Question

_Billed = tuple[Offer, BillingRule | None]
Joined = tuple[int, Link, Link | None, Link | None] | None


class Market:
    """Offers by device and count, looked up once."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self._offers: dict[str, list[_Billed]] = {}
        self._rented: dict[tuple[str, Machine | None, ParallelPlan], list[RentedDevice]] = {}
        self._standing: dict[tuple[str, int], list[DeviceSpec]] = {}

    def of(self, spec: DeviceSpec, parallel: ParallelPlan) -> list[RentedDevice]:
        """Of offers that a provider bills alike the cheapest for so many devices, the cheapest
        first; one without an offer where nobody's table has a price."""
        key = spec.key, spec.machine, parallel
        if key not in self._rented:
            self._rented[key] = self._found(spec, parallel)
        return self._rented[key]

    def standing(self, spec: DeviceSpec, devices: int) -> list[DeviceSpec]:
        """The device in each kind of machine that so many are offered in, kinds whose networks are
        alike for so many taken together; as it is where only one is known."""
        if devices == 1 or spec.machine is not None:
            return [spec]
        key = spec.key, devices
        if key not in self._standing:
            plain = self._in(spec, None)
            found = {_joined(plain, devices): plain}
            kinds = {
                _joined(one, devices): one
                for offer, _ in reversed(self._billed(spec))
                for one in [self._in(spec, offer)]
            }
            self._standing[key] = [found.get(how, one) for how, one in kinds.items()] or [plain]
        return self._standing[key]

    def _in(self, spec: DeviceSpec, offer: Offer | None) -> DeviceSpec:
        """The device in an offer's machine, or as it usually stands; in machines of as many as
        are asked for."""
        nodes = self.question.nodes
        each = None if nodes is None else self.question.gpus // nodes
        return replace(spec, machine=machine_of(offer, spec, each))

    def usd_per_hour_at_least(self, spec: DeviceSpec, parallel: ParallelPlan) -> float:
        """Of all devices together, at the cheapest offer; 0 without one."""
        offer = self.of(spec, parallel)[0].offer
        return 0.0 if offer is None else offer.usd_per_hour_for(parallel.devices)

    def _found(self, spec: DeviceSpec, parallel: ParallelPlan) -> list[RentedDevice]:
        devices = parallel.devices

        def order(billed: _Billed) -> tuple[float, str, str, str]:
            offer = billed[0]
            usd = offer.usd_per_hour_for(devices)
            return usd, offer.provider, offer.region, offer.instance_type

        billed = sorted(self._in_such_machines(spec, devices), key=order)
        if not billed:
            return [RentedDevice(spec, parallel, None)]
        cheapest: dict[tuple[str, BillingRule | None, int], Offer] = {}
        for offer, rule in billed:
            cheapest.setdefault((offer.provider, rule, offer.instances_for(devices)), offer)
        middle = self._middle([offer for offer, _ in billed], devices)
        return [
            RentedDevice(spec, parallel, offer, _prices(offer, devices, middle))
            for offer in cheapest.values()
        ]

    def _in_such_machines(self, spec: DeviceSpec, devices: int) -> list[_Billed]:
        """Of the offers those whose machines join so many devices as the device's own does."""
        found = self._billed(spec)
        if devices == 1:
            return found
        own, alone = _joined(spec, devices), replace(spec, machine=None)
        return [one for one in found if _joined(self._in(alone, one[0]), devices) == own]

    def _billed(self, spec: DeviceSpec) -> list[_Billed]:
        """Each offer with how it rounds time."""
        if spec.key not in self._offers:
            self._offers[spec.key] = [
                (offer, None)
                if offer.provider in NO_PROVIDER
                else (offer, billing_rule(offer.provider, offer.instance_type))
                for offer in offered(self.question, spec)
            ]
        return self._offers[spec.key]

    def _middle(self, found: list[Offer], devices: int) -> float | None:
        """USD of a device-hour in the middle of the providers; None where the user chose the
        provider or the price."""
        if self.question.provider or found[0].provider in NO_PROVIDER:
            return None
        prices = price_range(found, devices)
        return None if prices is None else prices.p50


def _joined(spec: DeviceSpec, devices: int) -> Joined:
    """What a step of so many devices knows of their network; nothing where no source gives it."""
    try:
        network = network_of(spec, devices)
    except QuestionError:
        return None
    each = min(devices, network.devices_per_node)
    return each, network.inside, network.between, network.pair


def _prices(offer: Offer, devices: int, middle: float | None) -> Estimate | None:
    """From the offer up to the middle of the providers': it may be sold out."""
    if middle is None:
        return None
    own = offer.usd_per_hour_for(devices) / devices
    return Estimate(own, own, max(own, middle))
