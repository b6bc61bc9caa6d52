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

from planner.parallel.network.constants import Constants
from planner.parallel.network.link import Link

PROTOCOLS = ("ll", "ll128", "simple")
#: The operations that are priced, called as in torch.distributed.
OPERATIONS = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast", "send")
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
    """What one device has to do for a collective of one byte: hops after one another, and bytes
    over each link."""

    hops_inside: float
    hops_between: float
    inside: float
    between: float


def moves(operation: str, algorithm: str, group: Group) -> Moves | None:
    """None where the library has no such algorithm for the operation."""
    n, m, nodes = group.ranks, group.within, group.nodes
    if algorithm == "multicast":
        alone = operation == "all_reduce" and nodes == 1 and n > FEW_FOR_MULTICAST
        able = group.inside is not None and group.inside.multicast
        return Moves(1, 0, 1.0, 0) if alone and able else None
    if algorithm == "tree":
        if operation != "all_reduce":
            return None
        return Moves(2 * (m - 1), 2 * math.ceil(math.log2(nodes)), 2.0, 2.0 / m)
    share = (n - 1) / n
    if operation == "send":
        return Moves(nodes == 1, nodes > 1, nodes == 1, nodes > 1)
    if operation == "all_to_all":
        return Moves(m > 1, nodes > 1, (m - 1) / n, (n - m) / n)
    passes = 2 if operation == "all_reduce" else 1
    hops = passes * (n - nodes), passes * (nodes - 1)
    carried = 1.0 if operation == "broadcast" else passes * share
    return Moves(*hops, carried, carried / m)


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
    factor = constants.value("bandwidth_factor", "", algorithm, protocol)
    moved = moves(operation, algorithm, group)
    if base is None or factor is None or moved is None:
        return None
    latency, slowest = base, 0.0
    own = 0.0 if operation in ("send", "broadcast") else 1 / group.ranks
    for link, hops, carried, others in (
        (group.inside, moved.hops_inside, moved.inside, group.within - 1),
        (group.between, moved.hops_between, moved.between, 1),
    ):
        if link is None:
            continue
        kind = constants.kind(link.kind)
        hop = constants.value("hop_seconds", kind.hardware, algorithm, protocol)
        if hop is None or (kind.hardware == "pci" and protocol == "ll128"):
            return None
        latency += hops * (hop + kind.latency_seconds + link.latency_seconds)
        if algorithm == "multicast":
            rate = link.bytes_per_s * kind.multicast_share
            rate *= factor
        else:
            rate = link.towards(others) * kind.bandwidth_share * factor
            carried += own * kind.own_share
        most = constants.value("ll_most_bytes_per_s", link.generation, "", "ll")
        if protocol == "ll" and most is not None and link is group.inside:
            rate = min(rate, most)
        if carried:
            slowest = max(slowest, carried * size_bytes / rate)
    return latency + slowest
