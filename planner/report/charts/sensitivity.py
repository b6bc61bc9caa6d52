"""What changing one assumption does to the sum (a tornado)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.report.charts.alternative import told
from planner.report.charts.marks import USD_AXIS, Spec, axis, bar, mark, row_chart, scale, tooltip
from planner.report.words import UNKNOWN, clean, usd_text

Row = dict[str, Any]
#: The widest bar first, as the chart measures them.
_WIDEST = {"field": "span", "op": "max", "order": "descending"}


def spec(document: Mapping[str, Any]) -> Spec | None:
    """A row an assumption: from its low to its high sum through the plan's."""
    rows = _rows(document)
    if not rows:
        return None
    figures = [row[key] for row in rows for key in ("usd_low", "usd_high", "base")]
    x = {
        "field": "base",
        "type": "quantitative",
        "scale": scale(figures),
        "axis": axis("USD for the run", USD_AXIS),
    }
    tip = tooltip(("name", "Assumption"), ("low", "Low"), ("high", "High"), ("why", "Why"))
    sides = [
        {
            "transform": [{"filter": f"isValid(datum.{end})"}],
            "mark": bar(style),
            "encoding": {"x": x, "x2": {"field": end}, "tooltip": tip},
        }
        for end, style in (("usd_low", "less"), ("usd_high", "more"))
    ]
    middle = {
        "mark": mark("tick", "middle", thickness=2, height=20),
        "encoding": {"x": x, "tooltip": tooltip(("base_words", "The plan"))},
    }
    span = {"calculate": "abs(datum.usd_high - datum.usd_low)", "as": "span"}
    return row_chart(rows, [*sides, middle], transform=[span], sort=_WIDEST)


def alt(document: Mapping[str, Any]) -> str:
    return told(_rows(document))


def _rows(document: Mapping[str, Any]) -> list[Row]:
    budget = document.get("budget") or {}
    sum_of_run = (budget.get("headline") or {}).get("usd")
    if not sum_of_run:
        return []
    base = sum_of_run["p50"]
    return [
        {
            "row": row,
            "name": clean(each["what"]),
            "words": f"{usd(each['usd_low'])} to {usd(each['usd_high'])}",
            "low": clean(f"{each['low']}: {usd(each['usd_low'])}"),
            "high": clean(f"{each['high']}: {usd(each['usd_high'])}"),
            "usd_low": each["usd_low"],
            "usd_high": each["usd_high"],
            "base": base,
            "base_words": usd_text(base),
            "why": clean(each["why"]),
        }
        for row, each in enumerate(budget["sensitivity"])
    ]


def usd(value: float | None) -> str:
    return UNKNOWN if value is None else usd_text(value)
