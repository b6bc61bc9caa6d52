"""The machine that an offer's devices stand in."""

from __future__ import annotations

from functools import cache

from planner.cost.bill import NO_PROVIDER
from planner.cost.prices.offers import PER_GPU, Offer
from planner.cost.prices.tables import price_rows
from planner.devices.specification import DeviceSpec, Machine
from planner.parallel.network.which import instances, usual_devices


def machine_of(offer: Offer | None, spec: DeviceSpec, each: int | None = None) -> Machine | None:
    """``each``: devices of a machine, where the question says it. None: nothing is said of the
    machine, and the device stands in its usual server."""
    instance = None if offer is None else _instance(offer, spec.key)
    if instance is not None and each in (None, instance.devices):
        return Machine(instance.devices, instance.name)
    if each is not None:
        return Machine(each)
    size = None if offer is None else stated_size(offer)
    if size is None or size == usual_devices(spec.key):
        return None
    return Machine(size, is_part=size < usual_devices(spec.key))


def stated_size(offer: Offer) -> int | None:
    """Devices of an offer's machine; None where the price is of a device, however many of them a
    machine has: of a provider that states no machine of several, the user's own, or a market's."""
    if offer.provider in NO_PROVIDER or offer.own or offer.is_marketplace:
        return None
    if offer.gpu_count == 1 and offer.provider not in _with_sizes():
        return None
    return offer.gpu_count


@cache
def _with_sizes() -> frozenset[str]:
    """Providers whose price lists have machines of several devices."""
    return frozenset(
        row["provider"]
        for row in price_rows()
        if row["kind"] != PER_GPU and float(row["gpu_count"] or 1) > 1
    )


def _instance(offer: Offer, gpu_key: str):
    name = offer.instance_type.lower()
    return next(
        (
            one
            for one in instances()
            if one.name.lower() == name
            and one.gpu_key == gpu_key
            and one.provider == offer.provider
        ),
        None,
    )
