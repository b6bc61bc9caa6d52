"""Hours against dollars over GPUs and providers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from planner.report.charts.alternative import told
from planner.report.charts.marks import (
    USD_AXIS,
    Spec,
    axis,
    chart,
    hours_unit,
    in_unit,
    is_log,
    scale,
    state_color,
    tooltip,
)
from planner.report.words import UNKNOWN, clean, figure_text, hours_text, rate_text, usd_text

#: Pixels.
HEIGHT, ROOM = 320, 28
#: A name stands towards the middle of the chart.
_INWARDS = "scale('x', datum.shown) > width / 2 ? 'right' : 'left'"
Row = dict[str, Any]


def spec(document: Mapping[str, Any]) -> Spec | None:
    """A dot an offer; the front as a line; the limits that were asked."""
    rows = _offers(document)
    if len(rows) < 2:
        return None
    unit, per_unit = hours_unit(max(row["hours"] for row in rows))
    x = _place("shown", (row["hours"] for row in rows), axis(f"Wall-clock {unit}"))
    y = _place("usd", (row["usd"] for row in rows), axis("USD for the run", USD_AXIS))
    layers = [_front(x, y), _dots(x, y), _name_of_chosen(x, y)]
    return chart(rows, layers, height=HEIGHT, transform=[in_unit("hours", "shown", per_unit)])


def alt(document: Mapping[str, Any]) -> str:
    rows = [row for row in _offers(document) if row["on_front"] or row["state"] == "recommended"]
    return told([{**row, "words": f"{row['usd_short']}, {row['hours_short']}"} for row in rows])


def _place(field: str, figures: Iterable[float], drawn: Spec) -> Spec:
    """A channel on its own scale, on a logarithmic one with room around the outermost dots."""
    chosen = scale(figures)
    room = {"nice": False, "padding": ROOM} if is_log(chosen) else {"nice": True}
    return {"field": field, "type": "quantitative", "scale": {**chosen, **room}, "axis": drawn}


def _front(x: Spec, y: Spec) -> Spec:
    return {
        "transform": [{"filter": "datum.on_front"}],
        "mark": {"type": "line", "style": "path", "strokeDash": [4, 3], "interpolate": "linear"},
        "encoding": {"x": x, "y": y, "order": {"field": "usd", "type": "quantitative"}},
    }


def _dots(x: Spec, y: Spec) -> Spec:
    tip = tooltip(
        ("name", "GPU and provider"),
        ("usd_words", "Cost (p10 to p90)"),
        ("hours_words", "Wall-clock time"),
        ("rate", "USD a GPU-hour"),
        ("priced", "Price of"),
        ("limits", "Limits"),
    )
    return {
        "mark": {"type": "point", "filled": True, "size": 90, "opacity": 0.9},
        "encoding": {"x": x, "y": y, "color": state_color(legend=True), "tooltip": tip},
    }


def _name_of_chosen(x: Spec, y: Spec) -> Spec:
    return {
        "transform": [{"filter": "datum.state == 'recommended'"}],
        "mark": {
            "type": "text",
            "style": "name",
            "align": {"expr": _INWARDS},
            "baseline": "top",
            "dy": 9,
            "limit": {"expr": "width / 2"},
        },
        "encoding": {"x": x, "y": y, "text": {"field": "name"}},
    }


def _offers(document: Mapping[str, Any]) -> list[Row]:
    offers = (document.get("budget") or {}).get("offers") or []
    return [_offer(each) for each in offers if each["usd"]["p50"] > 0]


def _offer(offer: Mapping[str, Any]) -> Row:
    rate = offer["usd_per_gpu_hour"]
    kept = "recommended" if offer["chosen"] else "possible"
    return {
        "name": clean(f"{offer['gpus']} × {offer['gpu']} at {offer['provider']}"),
        "hours": offer["wall_hours"]["p50"],
        "usd": offer["usd"]["p50"],
        "usd_words": figure_text(offer["usd"], usd_text),
        "hours_words": figure_text(offer["wall_hours"], hours_text),
        "usd_short": usd_text(offer["usd"]["p50"]),
        "hours_short": hours_text(offer["wall_hours"]["p50"]),
        "rate": UNKNOWN if rate is None else rate_text(rate),
        "priced": clean(offer["price_date"] or UNKNOWN),
        "on_front": offer["on_front"],
        "limits": "kept" if offer["keeps_limits"] else "broken",
        "state": kept if offer["keeps_limits"] else "ruled out",
    }
