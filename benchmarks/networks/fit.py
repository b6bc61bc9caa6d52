"""What measured collectives teach of a kind of link: a pattern search over its constants, on the
logarithms of the times, each group of sizes weighing the same."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from benchmarks.networks.measured import Timed
from planner.parallel.network import collective_seconds
from planner.parallel.network.constants import Constants, constants

#: Constants that are fitted, by kind of link: where the search begins, the least and the most. It
#: begins at what is known without the tables: NCCL's own figures, a hop a peer, and 275 of 450 GB/s
#: where the switch adds (NVIDIA/nccl-tests issue 212).
FITTED = {
    "nvlink": {
        "bandwidth_share": (0.8, 0.6, 0.95),
        "multicast_share": (0.61, 0.3, 0.9),
        "multicast_ramp_bytes": (1e6, 1e5, 1e8),
        "own_share": (0.5, 0.05, 1.0),
        "ramp_bytes": (1e5, 1e3, 1e8),
        "hop_factor": (1.0, 0.5, 5.0),
        "peer_share": (1.0, 0.02, 2.0),
        "start_seconds": (5e-6, 1e-6, 3e-5),
    },
    "pcie": {
        "bandwidth_share": (0.5, 0.3, 0.95),
        "ramp_bytes": (1e5, 1e2, 1e8),
        "hop_factor": (1.0, 0.5, 10.0),
        "start_seconds": (1e-6, 1e-7, 3e-5),
    },
    "tcpxo": {
        "bandwidth_share": (0.9, 0.3, 0.97),
        "ramp_bytes": (1e5, 1e2, 1e8),
        "hop_factor": (1.0, 0.5, 30.0),
    },
}
#: Kinds that no table measures: as shipped.
UNMEASURED = frozenset({"infinity_fabric", "infiniband", "roce", "efa", "ethernet"})
LARGE = 0.3  # a logarithm of a ratio
DEPARTURE = 0.002
SURE = 0.15  # rates are better known than latencies
LEAST_GAIN = 1e-6
FIRST, LAST = 0.5, 0.02  # steps of the search, in logarithms


def predicted(row: Timed, with_constants: Constants | None = None) -> float:
    """Seconds that the model gives, by other constants than the shipped ones where given."""
    return collective_seconds(
        row.operation, row.size_bytes, row.ranks, row.network, with_constants=with_constants
    )


def loss(rows: Sequence[Timed], with_constants: Constants) -> float:
    """Mean distance of the logarithms, every source, generation and operation weighing the same.
    Squared where it is small, so that two sources that differ meet half-way; plain where it is
    large, so that a rank that came late decides nothing."""
    groups: dict[object, list[float]] = defaultdict(list)
    for row in rows:
        distance = _distance(predicted(row, with_constants) / row.seconds)
        groups[row.source, row.generation, row.operation].append(distance)
    return statistics.fmean(statistics.fmean(group) for group in groups.values())


def _departure(found: Constants, kind: str) -> float:
    """What leaving the start costs, so that few rows do not carry a constant far away."""
    moved = (
        math.log(getattr(found.kinds[kind], name) / start)
        / (SURE if name.endswith("width_share") or name == "multicast_share" else 1.0)
        for name, (start, _, _) in FITTED[kind].items()
    )
    return DEPARTURE * sum(distance**2 for distance in moved)


def _distance(ratio: float) -> float:
    return LARGE * (math.hypot(1.0, math.log(ratio) / LARGE) - 1.0)


def links_of(row: Timed) -> set[str]:
    """Kinds of link that a row's collective uses."""
    group = row.network.group(row.ranks)
    return {link.kind for link in (group.inside, group.between) if link is not None}


def unfitted() -> Constants:
    """The constants before any table was read."""
    found = constants()
    for kind, bounds in FITTED.items():
        for name, (start, _, _) in bounds.items():
            found = with_value(found, kind, name, start)
    return found


def fitted(rows: Iterable[Timed]) -> Constants:
    """Every kind on the rows that use it and none that is fitted after it. A kind without such rows
    stays ``unfitted``."""
    found, every = unfitted(), list(rows)
    done = set(UNMEASURED)
    for kind in FITTED:
        done.add(kind)
        own = [row for row in every if kind in links_of(row) and links_of(row) <= done]
        if own:
            found = _searched(own, kind, found)
    return found


def left_out(rows: Sequence[Timed]) -> dict[Timed, float]:
    """Each row's seconds by constants that were fitted on rows of neither its source nor its
    generation of devices."""
    seconds: dict[Timed, float] = {}
    for source, generation in sorted({(row.source, row.generation) for row in rows}):
        others = [row for row in rows if source != row.source and generation != row.generation]
        found = fitted(others)
        own = [row for row in rows if (row.source, row.generation) == (source, generation)]
        seconds.update({row: predicted(row, found) for row in own})
    return seconds


def with_value(old: Constants, kind: str, name: str, value: float) -> Constants:
    changed = replace(old.kinds[kind], **{name: value})
    return Constants(old.nccl, {**old.kinds, kind: changed})


def _searched(rows: Sequence[Timed], kind: str, start: Constants) -> Constants:
    """One constant after another, a step up or down, the steps halved where none helps."""

    def worth(tried: Constants) -> float:
        return loss(rows, tried) + _departure(tried, kind)

    found, step, best = start, FIRST, worth(start)
    while step > LAST:
        better = False
        for name, (_, least, most) in FITTED[kind].items():
            for factor in (math.exp(step), math.exp(-step)):
                value = getattr(found.kinds[kind], name) * factor
                if not least <= value <= most:
                    continue
                tried = with_value(found, kind, name, value)
                if (now := worth(tried)) < best - LEAST_GAIN:
                    found, best, better = tried, now, True
                    break
        step = step if better else step / 2
    return found
