"""Dollars: ranges by strategy, lines of the bill, the project around the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.report.charts.alternative import told
from planner.report.charts.marks import (
    BAR_PX,
    USD_AXIS,
    Spec,
    axis,
    bar,
    mark,
    row_chart,
    scale,
    state_color,
    tooltip,
)
from planner.report.views.budget import options
from planner.report.words import clean, count_text, figure_text, rate_text, usd_text

Row = dict[str, Any]


def spec(document: Mapping[str, Any]) -> Spec | None:
    """A row an option with a price: median and range of its training, of those that train where
    requests are priced beside it."""
    return _ranges(_costs(document, "usd"))


def alt(document: Mapping[str, Any]) -> str:
    return told(_costs(document, "usd"), "p50")


def project_spec(document: Mapping[str, Any]) -> Spec | None:
    """The same of training and answering requests, where requests are asked for."""
    return _ranges(_costs(document, "project_usd"))


def project_alt(document: Mapping[str, Any]) -> str:
    return told(_costs(document, "project_usd"), "p50")


def _costs(document: Mapping[str, Any], key: str) -> list[Row]:
    priced = [each for each in document["options"] if (each.get("cost") or {}).get(key)]
    if key == "usd" and options.with_requests(document):
        priced = [each for each in priced if each.get("run")]
    return [
        {
            "row": row,
            "name": options.title(document, option),
            "words": figure_text(option["cost"][key], usd_text),
            "short": usd_text(option["cost"][key]["p50"]),
            "state": options.state(document, option),
            **option["cost"][key],
        }
        for row, option in enumerate(priced)
    ]


def _ranges(rows: list[Row]) -> Spec | None:
    if not rows:
        return None
    spread = scale(row[end] for row in rows for end in ("p10", "p90"))
    x = {"field": "p10", "type": "quantitative", "scale": spread, "axis": axis("USD", USD_AXIS)}
    tip = tooltip(("name", "Strategy"), ("words", "Cost (p10 to p90)"))
    return row_chart(
        rows,
        [
            {
                "mark": bar(opacity=0.35, cornerRadius=2),
                "encoding": {
                    "x": x,
                    "x2": {"field": "p90"},
                    "color": state_color(),
                    "tooltip": tip,
                },
            },
            {
                "mark": mark("point", filled=True, size=BAR_PX * 9, opacity=1),
                "encoding": {
                    "x": {**x, "field": "p50"},
                    "color": state_color(),
                    "tooltip": tip,
                },
            },
        ],
    )


def bill_spec(document: Mapping[str, Any]) -> Spec | None:
    """Lines of the bill as bars, where there is more than one."""
    rows = _bill(document)
    return _bars(rows) if len(rows) > 1 else None


def bill_alt(document: Mapping[str, Any]) -> str:
    return told(_bill(document), "high")


def _bill(document: Mapping[str, Any]) -> list[Row]:
    lines = (document.get("budget") or {}).get("lines") or []
    return [
        {
            "row": row,
            "name": clean(line["name"]),
            "words": usd_text(line["usd"]),
            "low": 0,
            "high": line["usd"],
            "quantity": f"{count_text(line['quantity'])} {clean(line['unit'])}",
            "price": rate_text(line["usd_per_unit"]),
        }
        for row, line in enumerate(lines)
    ]


def around_spec(document: Mapping[str, Any]) -> Spec | None:
    """Lines of the project from low to high, and their sum."""
    rows = _around(document)
    return _bars(rows, sure=True) if rows else None


def around_alt(document: Mapping[str, Any]) -> str:
    return told(_around(document), "high")


def _around(document: Mapping[str, Any]) -> list[Row]:
    project = (document.get("budget") or {}).get("project")
    if not project:
        return []
    whole = {"name": "all of the project", **{k: project[k] for k in ("low_usd", "high_usd")}}
    return [
        {
            "row": row,
            "name": clean(line["name"]),
            "words": span_text(line["low_usd"], line["high_usd"]),
            "low": line["low_usd"],
            "high": line["high_usd"],
            "quantity": "",
            "price": "",
        }
        for row, line in enumerate([*project["lines"], whole])
    ]


def span_text(low: float, high: float) -> str:
    """``$0.04–$0.37``, or one figure where both are worded alike."""
    ends = dict.fromkeys((usd_text(low), usd_text(high)))
    return "–".join(ends)


def _bars(rows: list[Row], sure: bool = False) -> Spec:
    """Bars from ``low`` to ``high``. ``sure``: the low end is marked."""
    x = {"field": "low", "type": "quantitative", "axis": axis("USD", USD_AXIS)}
    ends = {"x": x, "x2": {"field": "high"}}
    fields = [("name", "What"), ("words", "USD")]
    if any(row["quantity"] for row in rows):
        fields += [("quantity", "Quantity"), ("price", "USD a unit")]
    tip = tooltip(*fields)
    layers = [
        {
            "mark": bar("accent", opacity=0.4 if sure else 1.0, minBandSize=2),
            "encoding": {**ends, "tooltip": tip},
        }
    ]
    if sure:
        layers.append(
            {
                "mark": mark("tick", "accent", thickness=3, height=BAR_PX),
                "encoding": {"x": {**x, "field": "low"}, "tooltip": tip},
            }
        )
    return row_chart(rows, layers)
