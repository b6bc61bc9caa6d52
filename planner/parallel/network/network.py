"""The network of some devices, and the seconds of a collective on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from planner.devices.collectives import CollectiveCurve, curve_for
from planner.errors import QuestionError
from planner.parallel.network.algorithms import OPERATIONS, Group, fastest_seconds
from planner.parallel.network.constants import Constants, constants
from planner.parallel.network.link import UNKNOWN, Link


@dataclass(frozen=True)
class Network:
    """Devices in nodes. ``inside``: between devices of a node; ``between``: from node to node, None
    where all devices are in one. ``pair``: a bridge that joins two neighbours only. ``said``: what
    was assumed of it, sentences for the first lines of an answer. ``measured``: collectives as they
    were measured on such devices, preferred to the model."""

    devices_per_node: int
    inside: Link
    between: Link | None
    said: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    pair: Link | None = None
    measured: tuple[CollectiveCurve, ...] = field(default=(), compare=False)

    def layout(self, ranks: int, stride: int = 1) -> tuple[int, int]:
        """(ranks in each node, nodes) of ``ranks`` that are ``stride`` devices apart."""
        within = max(1, min(ranks, self.devices_per_node // stride))
        return within, -(-ranks // within)

    def group(self, ranks: int, stride: int = 1) -> Group:
        """``ranks`` that are ``stride`` devices apart, over the nodes they lie in. Raises
        QuestionError where they need a link between nodes and none is known."""
        within, nodes = self.layout(ranks, stride)
        if nodes > 1 and self.between is None:
            raise QuestionError(
                f"{ranks} devices {stride} apart do not fit into a node of "
                f"{self.devices_per_node}, and no link between nodes is known",
                mend="Ask for the network of all devices",
            )
        if within > 1 and self.inside == UNKNOWN:
            raise QuestionError(
                "no sourced link between devices",
                mend="Measure them: planner.calibrate.collectives",
            )
        bridged = self.pair is not None and nodes == 1 and ranks == 2 and stride == 1
        inside = self.pair if bridged else self.inside
        return Group(
            ranks,
            within,
            nodes,
            inside if within > 1 else None,
            self.between if nodes > 1 else None,
        )

    def time(self, operation: str, size_bytes: float, ranks: int, *, stride: int = 1) -> float:
        """As ``collective_seconds``."""
        return collective_seconds(operation, size_bytes, ranks, self, stride=stride)


def collective_seconds(
    operation: str,
    size_bytes: float,
    ranks: int,
    network: Network,
    *,
    stride: int = 1,
    with_constants: Constants | None = None,
) -> float:
    """Seconds of one collective among ``ranks`` devices that are ``stride`` apart: 1 for neighbours
    in a node, the devices of a node for one device of each node.

    ``size_bytes``: of the whole buffer: what an all-reduce sums, an all-gather leaves and a
    reduce-scatter takes on every device; what an all-to-all takes from each device, which keeps
    one part in ``ranks``; what is sent or broadcast. A send goes from one device to the one
    ``stride`` on, over the slowest link on that way. A measured curve of this operation and this
    number of ranks goes before the model.

    Raises QuestionError for an operation that is not priced, for sizes and counts that make no
    sense, and where no link between nodes is known."""
    if operation not in OPERATIONS:
        raise QuestionError(
            f"no collective {operation!r}", mend=f"Use one of {', '.join(OPERATIONS)}"
        )
    if ranks < 1 or stride < 1 or not size_bytes >= 0:
        raise QuestionError(
            f"{operation} of {size_bytes} bytes among {ranks} devices {stride} apart",
            mend="At least one device, one apart, and no negative size",
        )
    if ranks == 1 or size_bytes == 0:
        return 0.0
    _, nodes = network.layout(ranks, stride)
    measured = curve_for(network.measured, operation, ranks, nodes)
    if measured is not None:
        return measured.seconds(size_bytes)
    group = network.group(ranks, stride)
    if with_constants is not None:
        return fastest_seconds(operation, size_bytes, group, with_constants)
    return _as_shipped(operation, float(size_bytes), group)


@lru_cache(maxsize=4096)
def _as_shipped(operation: str, size_bytes: float, group: Group) -> float:
    """A search for the cheapest asks for the same buckets some thousand times."""
    return fastest_seconds(operation, size_bytes, group, constants())
