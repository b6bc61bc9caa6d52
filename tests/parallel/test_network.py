from dataclasses import replace

import pytest

from planner.devices.lookup import resolve_device
from planner.devices.specification import all_devices
from planner.errors import QuestionError
from planner.parallel.network import OPERATIONS, Network, collective_seconds, network_of
from planner.parallel.network.constants import constants
from planner.parallel.network.which import instances

SIZES = [2.0**power for power in range(3, 34)]


def spec(key):
    return resolve_device(key).spec


CLUSTERS = {
    "one node": network_of(spec("a100-sxm-80"), 8),
    "eight nodes": network_of(spec("h100-sxm"), 64),
    "PCI Express": network_of(spec("l40s"), 4),
    "Ethernet": network_of(spec("t4"), 32),
    "one NVLink domain": network_of(spec("gb200"), 72),
    "a mesh": network_of(spec("mi300x"), 16),
    "an instance": network_of(spec("a100-sxm-40"), 16, instance="p4d.24xlarge"),
}
RANKS = {
    name: [2, network.devices_per_node, *([2 * network.devices_per_node] * bool(network.between))]
    for name, network in CLUSTERS.items()
}


def wire_bytes(operation, size, ranks):
    """The least that some device has to send."""
    share = (ranks - 1) / ranks
    if operation == "all_reduce":
        return size * share  # a switch that adds halves what a ring sends
    return size if operation in ("broadcast", "send") else size * share


@pytest.mark.parametrize("name", CLUSTERS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_more_bytes_take_longer_and_no_link_is_outrun(name, operation):
    network = CLUSTERS[name]
    for ranks in RANKS[name]:
        seconds = [network.time(operation, size, ranks) for size in SIZES]
        assert all(a <= b for a, b in zip(seconds, seconds[1:], strict=False))
        least = [wire_bytes(operation, size, ranks) / network.inside.bytes_per_s for size in SIZES]
        assert all(a > b for a, b in zip(seconds, least, strict=True))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_one_rank_and_no_bytes_take_no_time(operation):
    network = CLUSTERS["eight nodes"]
    assert network.time(operation, 1e9, 1) == network.time(operation, 0, 8) == 0


@pytest.mark.parametrize("operation", ["all_reduce", "all_gather", "reduce_scatter"])
@pytest.mark.parametrize("name", [name for name in CLUSTERS if CLUSTERS[name].between])
def test_what_crosses_nodes_is_never_faster_than_all_the_cards_of_a_node(name, operation):
    network = CLUSTERS[name]
    each, size = network.devices_per_node, 2.0**32
    crossing = size / 2 / (each * network.between.bytes_per_s)
    assert network.time(operation, size, 2 * each) > crossing
    assert network.time(operation, size, 2, stride=each) > size / 2 / network.between.bytes_per_s


def test_neighbours_in_a_node_are_faster_than_one_device_of_each_node():
    network = CLUSTERS["eight nodes"]
    for operation in OPERATIONS:
        near = network.time(operation, 1e8, 8)
        assert network.time(operation, 1e8, 8, stride=8) > 4 * near


def test_more_ranks_never_make_an_all_reduce_faster_without_a_switch_that_adds():
    network = CLUSTERS["one node"]
    for size in SIZES:
        seconds = [network.time("all_reduce", size, ranks) for ranks in range(2, 9)]
        assert seconds == sorted(seconds)


def test_a_switch_that_adds_helps_more_than_two_large():
    network = network_of(spec("h100-sxm"), 8)
    plain = replace(network, inside=replace(network.inside, multicast=False))
    assert network.time("all_reduce", 1e9, 8) < plain.time("all_reduce", 1e9, 8)
    assert network.time("all_reduce", 1e9, 2) == plain.time("all_reduce", 1e9, 2)


def test_a_bridge_joins_two_and_the_others_take_pci_express():
    pair, four = (network_of(spec("a100-pcie-80"), devices) for devices in (2, 4))
    assert "bridge" in pair.said[0] and "PCI Express" in four.said[0]
    assert four.time("all_reduce", 1e9, 2) == pair.time("all_reduce", 1e9, 2)
    assert four.time("all_reduce", 1e9, 4) > 5 * pair.time("all_reduce", 1e9, 2)


def test_two_of_a_mesh_have_one_wire():
    network = CLUSTERS["a mesh"]
    assert network.inside.towards(1) == pytest.approx(network.inside.bytes_per_s / 7)


def test_what_is_assumed_is_said_and_what_is_named_is_not():
    assert CLUSTERS["eight nodes"].said == (
        "no instance is named: the network between nodes is taken as 8 × ib-ndr-400 a node, "
        "400 Gb/s a GPU, and 8 NVIDIA H100 80GB HBM3 as a node",
    )
    assert CLUSTERS["an instance"].said == CLUSTERS["one node"].said == ()
    assert CLUSTERS["an instance"].between.bytes_per_s == 50e9 / 8


def test_nodes_spread_the_devices():
    spread = network_of(spec("h100-sxm"), 8, nodes=2)
    assert spread.devices_per_node == 4 and spread.between is not None
    assert spread.time("all_reduce", 1e9, 8) > network_of(spec("h100-sxm"), 8).time(
        "all_reduce", 1e9, 8
    )


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (lambda: network_of(spec("h100-sxm"), 8, nodes=3), "do not divide"),
        (lambda: network_of(spec("h100-sxm"), 16, instance="p4d.24xlarge"), "has a100-sxm-40"),
        (lambda: network_of(spec("h100-sxm"), 16, instance="p99"), "p99: its network is not known"),
        (lambda: CLUSTERS["one node"].time("all_reduce", 1e6, 16), "no link between nodes"),
        (lambda: CLUSTERS["one node"].time("gather", 1e6, 2), "no collective 'gather'"),
        (lambda: CLUSTERS["one node"].time("send", -1, 2), "no negative size"),
        (lambda: CLUSTERS["one node"].time("send", 1, 0), "At least one device"),
        (
            lambda: network_of(
                replace(spec("t4"), pcie_generation=None, interconnect_bytes_per_s=None), 2
            ),
            "no sourced link between devices",
        ),
    ],
)
def test_wrong_questions_end_in_one_line(asked, said):
    with pytest.raises(QuestionError, match=said) as refused:
        asked()
    assert "\n" not in str(refused.value)


def test_every_device_with_a_link_has_a_network():
    for device in all_devices():
        known = device.interconnect_bytes_per_s or device.pcie_generation
        if device.is_cuda_like and known:
            network = network_of(device, 16)
            assert isinstance(network, Network) and network.sources
            assert collective_seconds("all_reduce", 1e6, 2, network) > 0


def test_every_instance_is_of_a_kind_with_latencies():
    for instance in instances():
        assert constants().kind(instance.kind).hardware == "net"
