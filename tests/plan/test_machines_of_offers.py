"""A price of an instance plans that instance's machines and network."""

from dataclasses import replace

import pytest

from planner import estimate
from planner.cost.machines import machine_of, stated_size
from planner.cost.prices.offers import offers
from planner.devices.lookup import find_device
from planner.devices.specification import Machine
from planner.parallel.network import network_of
from planner.parallel.plan import ParallelPlan
from planner.plan.inputs.problem import understand
from planner.plan.survey.offered import Market
from planner.plan.survey.survey import survey
from planner.question import Question

H100 = find_device("h100")
FOUR = dict(
    samples=10_000,
    tokens_per_sample=400,
    gpu="a100-80gb-sxm",
    gpus=8,
    strategy=["fine_tune"],
    parallel="ddp",
    micro_batch=4,
)


def offer_of(name, spec=H100):
    return next(one for one in offers(spec.key) if one.instance_type == name)


def test_an_instance_with_a_row_has_its_own_network():
    offer = offer_of("p5.48xlarge")
    machine = machine_of(offer, H100)
    assert machine == Machine(8, "p5.48xlarge")
    network = network_of(replace(H100, machine=machine), 16)
    assert network.between.kind == "efa" and network.devices_per_node == 8
    assert network != network_of(H100, 16) and not network.said


def test_a_single_device_of_a_provider_that_rents_several_at_once_is_a_machine():
    offer = next(o for o in offers(H100.key, provider="lambda") if stated_size(o) == 1)
    machine = machine_of(offer, H100)
    assert machine == Machine(1, is_part=True)
    network = network_of(replace(H100, machine=machine), 4)
    assert network.devices_per_node == 1 and network.between.kind == "ethernet"
    assert "parts of a server" in network.said[0]
    usual = network_of(H100, 4)
    assert network.time("all_reduce", 1e9, 4) > 10 * usual.time("all_reduce", 1e9, 4)


def test_a_price_of_a_device_says_nothing_of_its_machine():
    for offer in offers(H100.key, provider="runpod"):
        assert stated_size(offer) is None and machine_of(offer, H100) is None


@pytest.mark.parametrize("devices", [1, 2, 8, 16, 64])
def test_every_offer_is_of_one_kind_of_machine(devices):
    market = Market(Question(model="gpt2", samples=1, gpu="h100"))
    parallel = ParallelPlan(dp_replicate=devices)
    every = [one for one, _ in market._billed(H100)]
    kinds = [market._in_such_machines(spec, devices) for spec in market.standing(H100, devices)]
    found = [offer for kind in kinds for offer, _ in kind]
    assert len(found) == len(every) and set(map(id, found)) == set(map(id, every))
    for spec in market.standing(H100, devices):
        assert all(one.spec == spec for one in market.of(spec, parallel))


def test_devices_that_one_machine_holds_are_not_told_apart_by_what_is_outside():
    market = Market(Question(model="gpt2", samples=1, gpu="h100"))
    assert {network_of(s, 2).between for s in market.standing(H100, 2) if not _parts(s)} == {None}
    assert len(market.standing(H100, 16)) > len(market.standing(H100, 8))


def _parts(spec):
    return spec.machine is not None and spec.machine.devices < 2


def test_asked_machines_have_so_many_devices():
    question = Question(model="gpt2", samples=1, gpu="h100", gpus=16, nodes=4)
    for spec in Market(question).standing(H100, 16):
        network = network_of(spec, 16)
        assert network.devices_per_node == 4
        for rented in Market(question).of(spec, ParallelPlan(dp_replicate=16)):
            assert stated_size(rented.offer) in (None, 4)


def test_more_machines_take_no_less_time():
    def seconds(**fields):
        found = estimate("gpt2", **FOUR | {"price": 1.5} | fields)
        return found["options"][0]["step"]["seconds"]["p50"]

    times = [seconds(nodes=n) for n in (1, 2, 4, 8)]
    assert times == sorted(times) and times[0] < times[-1]


def test_a_cheap_single_device_is_no_longer_planned_as_a_part_of_eight():
    market = survey(understand(Question(model="gpt2", **FOUR)), counts=(8,))
    best = market.cheapest("fine_tune")
    network = network_of(best.placement.spec, 8)
    size = stated_size(best.offer)
    assert size is None or network.devices_per_node in (size, 8)
    for place in market.placed():
        for one in place.candidates:
            assert one.rented.spec == place.spec
            size = stated_size(one.offer)
            assert size is None or network_of(place.spec, 8).layout(8)[0] == min(size, 8)
