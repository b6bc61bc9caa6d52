"""Where nothing is recommended: the option that comes nearest, by how much it is over which limit,
and which offer would keep the limits."""

from __future__ import annotations

from collections.abc import Sequence

from planner.budget.parts.subject import Json, Subject
from planner.units import SECONDS_PER_HOUR, format_bytes, format_seconds, format_usd

MEMORY = "memory"


def nearest(subject: Subject, offers: Sequence[Json]) -> Json | None:
    """None where something is recommended, or no option can be judged. An option that fits comes
    nearer than one that does not."""
    ways = list(enumerate(subject.options))
    if subject.option is not None:
        return None
    fitting = [(place, one) for place, one in ways if one["fits"] and one["cost"]]
    held = [(place, one) for place, one in ways if one["memory"] and one["fits"] is False]
    if not (fitting or held):
        return None
    place, option = min(fitting, key=_excess) if fitting else min(held, key=_lacking)
    over = [_over(limit) for limit in option["limits"] if not limit["kept"]]
    return {
        "option": place,
        "over": over if fitting else [_short(option), *over],
        "offer": next((at for at, one in enumerate(offers) if one["keeps_limits"]), None)
        if over and fitting
        else None,
    }


def _excess(way: tuple[int, Json]) -> tuple[float, float]:
    """How many times the furthest limit is used; of those alike the cheapest."""
    place, option = way
    used = (
        one["used"]["p50"] / one["allowed"] if one["allowed"] > 0 else float("inf")
        for one in option["limits"]
    )
    return max(used, default=0.0), option["cost"]["usd"]["p50"]


def _lacking(way: tuple[int, Json]) -> int:
    """Bytes that the device is short of, by the high end that the verdict stands on."""
    return way[1]["memory"]["short_by_bytes"] or 0


def _over(limit: Json) -> Json:
    over, field = -limit["left"], limit["limit"]
    word = format_usd if field == "max_usd" else _hours
    of = "the deadline" if field == "deadline" else f"{field} {word(limit['allowed'])}"
    late = "after" if field == "deadline" else "over"
    return {
        "limit": field,
        "allowed": limit["allowed"],
        "used": limit["used"]["p50"],
        "over": over,
        "words": f"{word(over)} {late} {of}",
    }


def _short(option: Json) -> Json:
    total, over = option["memory"]["device_total_bytes"], _lacking((0, option))
    return {
        "limit": MEMORY,
        "allowed": float(total),
        "used": float(total + over),
        "over": float(over),
        "words": f"{format_bytes(over)} over the {format_bytes(total)} of the GPU",
    }


def _hours(hours: float) -> str:
    return format_seconds(hours * SECONDS_PER_HOUR)
