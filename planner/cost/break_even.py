"""At how many requests a month one way becomes cheaper than another, over a whole project.

Every way is a ``Line`` (``planner/cost/token_bills.py``): straight between the loads at which a
server is added or a minimum ends, so that between two such loads a crossing is worked out, not
searched.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from planner.cost.token_bills import Line

#: Servers of one way beyond which loads are not looked at, and requests a month beyond which
#: nothing is.
MOST_SERVERS, MOST_REQUESTS = 64, 1e10
#: A difference of this share of the cost is none.
SAME = 1e-9
#: A way that is cheaper by less than this share does not take over: figures are not that sure.
WORTH = 0.01


@dataclass(frozen=True)
class Crossing:
    """``below`` costs less up to ``requests_per_month``, ``above`` from there on; ``again``: stairs
    of servers make them cross more than once, and this is the first time."""

    below: str
    above: str
    requests_per_month: float
    project_usd: float
    again: bool


@dataclass(frozen=True)
class Cheapest:
    """The cheapest way from a load on, until the next one's."""

    way: str
    from_requests_per_month: float


def crossing(names: tuple[str, str], lines: tuple[Line, Line], months: float) -> Crossing | None:
    """The load from which the way that costs less at few requests costs more; None where one is
    cheaper at every load."""
    one, other = lines
    first, sign, place, times, level = None, 0, 0.0, 0, None
    for load in _loads(lines, months):
        difference = one.usd(load, months) - other.usd(load, months)
        now = (
            0
            if abs(difference) <= SAME * max(1.0, one.usd(load, months))
            else int(math.copysign(1, difference))
        )
        if now and sign and now != sign:
            times += 1
            if first is None:
                place, first = load if level is None else level, sign
        level = load if now == 0 else None
        sign = now or sign
    if first is None:
        return None
    below, above = names if first < 0 else names[::-1]
    return Crossing(
        below, above, place, (other if first < 0 else one).usd(place, months), times > 1
    )


def cheapest_by_load(lines: Mapping[str, Line], months: float) -> list[Cheapest]:
    """The lower edge of all ways: which is cheapest from which load on, from one request a month; a
    way keeps its place until another is cheaper by ``WORTH``."""
    loads = sorted(
        {
            load
            for one in lines.values()
            for other in lines.values()
            for load in _loads((one, other), months)
        }
    )
    found: list[Cheapest] = []
    for load in loads:
        way = min(lines, key=lambda name: (lines[name].usd(load, months), name))
        if not found or found[-1].way != way:
            kept = found and lines[found[-1].way].usd(load, months) <= lines[way].usd(
                load, months
            ) * (1 + WORTH)
            if not kept:
                found.append(Cheapest(way, load))
    return found


def _loads(lines: tuple[Line, ...], months: float) -> list[float]:
    """Loads at which the order of two ways can change: just after each kink or step of either, and
    where they meet, or one gets cheaper by what is worth a change, between."""
    limit = min(
        [
            MOST_REQUESTS,
            *(
                MOST_SERVERS * line.requests_per_server_month
                for line in lines
                if line.usd_per_server_month
            ),
        ]
    )
    edges = sorted(
        {
            1.0,
            limit,
            *(edge for line in lines for edge in _edges(line, limit) if 1.0 < edge < limit),
        }
    )
    loads = set(edges)
    for low, high in zip(edges, edges[1:]):
        start = math.nextafter(low, high)
        loads.add(start)
        for ratio in (1.0, 1.0 + WORTH, 1.0 / (1.0 + WORTH)):
            gap = [
                lines[0].usd(load, months) - ratio * lines[-1].usd(load, months)
                for load in (start, high)
            ]
            if gap[0] * gap[1] < 0:
                met = start + (high - start) * gap[0] / (gap[0] - gap[1])
                loads |= {met, min(high, met * (1 + 1e-6))}
    return sorted(loads)


def _edges(line: Line, limit: float) -> list[float]:
    """Where a line bends: another server, or the end of a minimum."""
    found = []
    if line.usd_per_server_month and math.isfinite(line.requests_per_server_month):
        steps = min(MOST_SERVERS, math.ceil(limit / line.requests_per_server_month))
        found += [step * line.requests_per_server_month for step in range(1, steps + 1)]
    if line.metered_usd_per_request and line.least_usd_per_month > line.usd_per_month:
        found.append((line.least_usd_per_month - line.usd_per_month) / line.metered_usd_per_request)
    return found
