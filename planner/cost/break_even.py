"""At how many requests a month one way becomes cheaper than another, over a whole project.

Every way is a ``CostCurve`` (``planner/cost/token_bills.py``): straight between the loads at which
a server is added or a minimum ends, so that between two such loads a crossing is worked out, not
searched.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from planner.cost.token_bills import CostCurve

#: Servers of one way beyond which loads are not looked at, and requests a month beyond which
#: nothing is.
MOST_SERVERS, MOST_REQUESTS = 64, 1e10
#: A difference of this share of the cost is none.
SAME = 1e-9
#: Just past a step and just before the next, as a share of the load: the nearest numbers to a
#: multiple of a server's requests may be rounded to the other side of the step when they are
#: divided again.
PAST = 1e-12
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


def crossing(
    names: tuple[str, str], curves: tuple[CostCurve, CostCurve], months: float
) -> Crossing | None:
    """The load from which the way that costs less at few requests costs more; None where one is
    cheaper at every load."""
    first_curve, second_curve = curves
    first, sign, place, times, level = None, 0, 0.0, 0, None
    for load in _loads(curves, months):
        difference = first_curve.usd(load, months) - second_curve.usd(load, months)
        now = (
            0
            if abs(difference) <= SAME * max(1.0, first_curve.usd(load, months))
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
        below,
        above,
        place,
        (second_curve if first < 0 else first_curve).usd(place, months),
        times > 1,
    )


def cheapest_by_load(curves: Mapping[str, CostCurve], months: float) -> list[Cheapest]:
    """The lower edge of all ways: which is cheapest from which load on, from one request a month; a
    way keeps its place until another is cheaper by ``WORTH``."""
    loads = sorted(
        {
            load
            for first in curves.values()
            for second in curves.values()
            for load in _loads((first, second), months)
        }
    )
    found: list[Cheapest] = []
    for load in loads:
        way = min(curves, key=lambda name: (curves[name].usd(load, months), name))
        if not found or found[-1].way != way:
            kept = found and curves[found[-1].way].usd(load, months) <= curves[way].usd(
                load, months
            ) * (1 + WORTH)
            if not kept:
                found.append(Cheapest(way, load))
    return found


def _loads(curves: tuple[CostCurve, ...], months: float) -> list[float]:
    """Loads at which the order of two ways can change: just after each kink or step of either, and
    where they meet, or one gets cheaper by what is worth a change, between."""
    limit = min(
        [
            MOST_REQUESTS,
            *(
                MOST_SERVERS * curve.requests_per_server_month
                for curve in curves
                if curve.usd_per_server_month
            ),
        ]
    )
    edges = sorted(
        {
            1.0,
            limit,
            *(edge for curve in curves for edge in _edges(curve, limit) if 1.0 < edge < limit),
        }
    )
    loads = set(edges)
    for low, high in zip(edges, edges[1:]):
        start, end = low * (1 + PAST), high * (1 - PAST)
        if start >= end:
            continue
        loads |= {start, end}
        for ratio in (1.0, 1.0 + WORTH, 1.0 / (1.0 + WORTH)):
            gap = [
                curves[0].usd(load, months) - ratio * curves[-1].usd(load, months)
                for load in (start, end)
            ]
            if gap[0] * gap[1] < 0:
                met = start + (end - start) * gap[0] / (gap[0] - gap[1])
                loads |= {met, min(end, met * (1 + 1e-6))}
    return sorted(loads)


def _edges(curve: CostCurve, limit: float) -> list[float]:
    """Where a curve bends: another server, or the end of a minimum."""
    found = []
    if curve.usd_per_server_month and math.isfinite(curve.requests_per_server_month):
        steps = min(MOST_SERVERS, math.ceil(limit / curve.requests_per_server_month))
        found += [step * curve.requests_per_server_month for step in range(1, steps + 1)]
    if curve.metered_usd_per_request and curve.least_usd_per_month > curve.usd_per_month:
        found.append(
            (curve.least_usd_per_month - curve.usd_per_month) / curve.metered_usd_per_request
        )
    return found
