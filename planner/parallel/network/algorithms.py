"""How long a collective takes by each of NCCL's algorithms and protocols, and which is fastest:
the library's own model of itself (``ncclTopoTuneModel`` in NVIDIA/nccl src/graph/tuning.cc).

A ring's every step passes a slice on, so its latency grows with the ranks and its bytes are least;
a tree's latency grows with the logarithm of the nodes; a switch with multicast adds on the way. The
protocol LL has the least latency and half of the rate, LL128 most of the rate, Simple all of it and
the most latency: the fastest of these lines is the bend that measured times have at middle sizes.
Over several nodes rings and trees are hierarchical: every device of a node talks over a card of its
own, a slice of the buffer each, while the slices are gathered inside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from planner.parallel.network.constants import Constants, Kind
from planner.parallel.network.link import Link

PROTOCOLS = ("ll", "ll128", "simple")
#: The operations that are priced, called as in torch.distributed.
OPERATIONS = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast", "send")
#: Those in which a device's own part of the buffer is copied as well.
SHARED = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all")
#: A switch with multicast is used by more ranks than these.
FEW_FOR_MULTICAST = 2


@dataclass(frozen=True)
class Group:
    """``ranks`` over ``nodes``, ``within`` of them in each; ``inside`` and ``between``: the links
    they use (None where no rank needs it)."""

    ranks: int
    within: int
    nodes: int
    inside: Link | None
    between: Link | None


@dataclass(frozen=True)
class Moves:
    """What one device has to do for a collective of one byte: hops after one another, bytes over
    each link, and ``peers`` that it sends to beside the first."""

    hops_inside: float
    hops_between: float
    inside: float
    between: float
    peers: int = 0


def moves(operation: str, algorithm: str, group: Group) -> Moves | None:
    """None where the library has no such algorithm for the operation."""
    n, m, nodes = group.ranks, group.within, group.nodes
    if algorithm == "multicast":
        alone = operation == "all_reduce" and nodes == 1 and n > FEW_FOR_MULTICAST
        able = group.inside is not None and group.inside.multicast
        return Moves(1, 0, 1.0, 0.0) if alone and able else None
    if algorithm == "tree":
        crossed = (nodes - 1) / nodes
        deep = 2 * math.ceil(math.log2(nodes))
        return Moves(2 * (m - 1), deep, 2.0, 2 * crossed / m) if operation == "all_reduce" else None
    share = (n - 1) / n
    if operation == "send":
        return Moves(nodes == 1, nodes > 1, nodes == 1, nodes > 1)
    if operation == "all_to_all":
        return Moves(m > 1, nodes > 1, (m - 1) / n, (n - m) / n, peers=n - 2)
    passes = 2 if operation == "all_reduce" else 1
    carried = 1.0 if operation == "broadcast" else passes * share
    return Moves(passes * (n - nodes), passes * (nodes - 1), carried, carried / m)


def fastest_seconds(operation: str, size_bytes: float, group: Group, constants: Constants) -> float:
    """By the algorithm and the protocol that are fastest for this size."""
    times = (
        _seconds(operation, size_bytes, group, algorithm, protocol, constants)
        for algorithm in ("ring", "tree", "multicast")
        for protocol in PROTOCOLS
    )
    return min(seconds for seconds in times if seconds is not None)


def _seconds(
    operation: str,
    size_bytes: float,
    group: Group,
    algorithm: str,
    protocol: str,
    constants: Constants,
) -> float | None:
    """None where the library does not run it so."""
    base = constants.value("base_seconds", "", algorithm, protocol)
    moved = moves(operation, algorithm, group)
    if base is None or moved is None:
        return None
    latency, slowest = base, 0.0
    for link, hops, carried, others in (
        (group.inside, moved.hops_inside, moved.inside, group.within - 1),
        (group.between, moved.hops_between, moved.between, 1),
    ):
        if link is None:
            continue
        kind = constants.kind(link.kind)
        hop = constants.value("hop_seconds", kind.hardware, algorithm, protocol)
        rate = _rate(link, kind, algorithm, protocol, others, constants)
        if hop is None or rate is None:
            return None
        hop *= 1.0 if algorithm == "multicast" else kind.hop_factor
        latency += hops * (hop + link.latency_seconds) + moved.peers * kind.peer_share * hop
        latency += kind.start_seconds if carried and operation != "send" else 0.0
        if carried and algorithm == "ring" and link is group.inside and operation in SHARED:
            carried += kind.own_share / group.ranks
        ramp = kind.multicast_ramp_bytes if algorithm == "multicast" else kind.ramp_bytes
        slowest = max(slowest, _transfer(carried * size_bytes, rate, ramp))
    return latency + slowest


def _rate(
    link: Link, kind: Kind, algorithm: str, protocol: str, others: int, constants: Constants
) -> float | None:
    """Bytes a second that a large transfer reaches; None where the protocol is not used."""
    factor = constants.value("bandwidth_factor", "", algorithm, protocol)
    if factor is None or (kind.hardware == "pci" and protocol == "ll128"):
        return None
    if algorithm == "multicast":
        return link.bytes_per_s * kind.multicast_share * factor or None
    rate = link.towards(others) * kind.bandwidth_share * factor
    most = constants.value("ll_most_bytes_per_s", link.generation, "", protocol)
    return rate if most is None else min(rate, most)


def _transfer(carried_bytes: float, rate: float, ramp_bytes: float) -> float:
    """The channels that are used grow with the bytes: so does the rate, until all are."""
    if not carried_bytes:
        return 0.0
    return carried_bytes / rate * (1 + math.sqrt(ramp_bytes / carried_bytes))
