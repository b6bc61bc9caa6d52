"""The chance of costing more than a sum, with the limit where one was set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.report.charts.alternative import told
from planner.report.charts.marks import USD_AXIS, Spec, axis, chart, scale, tooltip
from planner.report.words import chance_text, usd_text

#: Pixels.
HEIGHT = 240
Row = dict[str, Any]


def spec(document: Mapping[str, Any]) -> Spec | None:
    """The curve of the distribution, a dot a point of it; the limit as a line."""
    rows = _points(document)
    if len(rows) < 2:
        return None
    limit = document["question"].get("max_usd")
    drawn = scale([row["usd"] for row in rows] + ([] if limit is None else [limit]))
    x = {
        "field": "usd",
        "type": "quantitative",
        "scale": {**drawn, **({} if drawn["type"] == "log" else {"zero": False})},
        "axis": axis("USD for the run", USD_AXIS),
    }
    y = {
        "field": "chance",
        "type": "quantitative",
        "scale": {"domain": [0, 1]},
        "axis": axis("Chance of costing more", "%"),
    }
    layers = [
        {"mark": {"type": "area", "style": "area", "line": False}, "encoding": {"x": x, "y": y}},
        {
            "mark": {"type": "line", "style": "edge", "strokeWidth": 2},
            "encoding": {"x": x, "y": y},
        },
        {
            "mark": {"type": "point", "style": "accent", "filled": True, "size": 45, "opacity": 1},
            "encoding": {"x": x, "y": y, "tooltip": tooltip(("words", "Chance"))},
        },
    ]
    return chart(rows, layers + ([] if limit is None else _limit(limit, x)), height=HEIGHT)


def alt(document: Mapping[str, Any]) -> str:
    return told([{"name": row["above"], "words": row["likely"]} for row in _points(document)])


def _limit(limit: float, x: Spec) -> list[Spec]:
    told = f"limit {usd_text(limit)}"
    inside = {"values": [{"usd": limit, "words": told}]}
    return [
        {
            "data": inside,
            "mark": {"type": "rule", "style": "limit", "strokeWidth": 2},
            "encoding": {"x": x, "tooltip": tooltip(("words", "Limit"))},
        },
        {
            "data": inside,
            "mark": {
                "type": "text",
                "style": "warning",
                "align": "right",
                "baseline": "top",
                "dx": -6,
                "y": 2,
            },
            "encoding": {"x": x, "text": {"field": "words"}},
        },
    ]


def _points(document: Mapping[str, Any]) -> list[Row]:
    points = (document.get("budget") or {}).get("chances") or []
    return [
        {
            "usd": point["usd"],
            "chance": point["chance"],
            "above": f"more than {usd_text(point['usd'])}",
            "likely": chance_text(point["chance"]),
            "words": f"{chance_text(point['chance'])} that it costs more than "
            f"{usd_text(point['usd'])}",
        }
        for point in points
        if point["usd"] > 0
    ]
