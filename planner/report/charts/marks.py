"""Pieces of which the charts are put together: rows with their name above the bar, scales, axes.

A row's name and figure stand above its bar and not beside it, so that a chart reads the same on a
phone and on a wide page. Strings of a document are data here, never parts of an expression.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from planner.units import GIB

Spec = dict[str, Any]
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
ROW_PX, BAR_PX = 46, 12
#: From this ratio of the largest to the smallest figure on, a linear axis would hide small ones.
LOG_FROM_RATIO = 30
#: Middle of a bar, and the line of text above it, from the middle of a row.
_BAR_AT, _TEXT_AT = 8, -10
#: Below this width words are shortened, pixels; and what a character of them takes.
_SHOWN = "(width < 460 ? datum.short : datum.words)"
_ROOM_FOR_NAME = f"max(80, width - 16 - 6.4 * length({_SHOWN}))"
_WORDS: Spec = {"text": {"expr": _SHOWN}}
#: Of a logarithmic axis only the lines of powers of ten are drawn; of a linear one all.
_STRONG_LINE = (
    "datum.label != '' || abs(log(datum.value) / LN10 - round(log(datum.value) / LN10)) < 1e-9"
)
USD_AXIS, PLAIN_AXIS = "$,~r", ",~r"


def chart(rows: Sequence[Mapping[str, Any]], layers: Sequence[Spec], **more: Any) -> Spec:
    """A specification of layers over inline data, as wide as its container."""
    return {
        "$schema": SCHEMA,
        "width": "container",
        "data": {"values": list(rows)},
        "layer": list(layers),
        **more,
    }


def row_chart(rows: Sequence[Mapping[str, Any]], layers: Sequence[Spec], **more: Any) -> Spec:
    """A chart of rows in the order of their field ``row``, with their ``name`` at the left and
    their ``words`` at the right above the bar."""
    rows = [{"short": row["words"], **row} for row in rows]
    y = {"field": "row", "type": "ordinal", "axis": None, "sort": more.pop("sort", "ascending")}
    return chart(
        rows,
        [*layers, caption("name", "left"), caption("words", "right")],
        height=ROW_PX * len({row["row"] for row in rows}),
        encoding={"y": y},
        **more,
    )


def caption(field: str, side: str) -> Spec:
    """Text above the bar of a row, at one end of the chart. A narrow chart shows ``short`` instead
    of ``words``, and cuts a name where the words begin (the tooltip has it whole)."""
    at = {"value": 0} if side == "left" else {"value": "width"}
    style, told = (
        ("name", {"limit": {"expr": _ROOM_FOR_NAME}}) if side == "left" else ("value", _WORDS)
    )
    return {
        "mark": {"type": "text", "style": style, "align": side, "yOffset": _TEXT_AT, **told},
        "transform": _once(),
        "encoding": {"x": at, **({} if side == "right" else {"text": {"field": field}})},
    }


def _once() -> list[Spec]:
    """Only the first datum of each row."""
    return [
        {"window": [{"op": "row_number", "as": "nth"}], "groupby": ["row"]},
        {"filter": "datum.nth == 1"},
    ]


def bar(style: str | None = None, **more: Any) -> Spec:
    """The mark of a row's bar, below its text."""
    mark = {"type": "bar", "height": BAR_PX, "yOffset": _BAR_AT, **more}
    return mark | ({"style": style} if style else {})


def mark(kind: str, style: str | None = None, **more: Any) -> Spec:
    """Another mark at the height of a row's bar."""
    made = {"type": kind, "yOffset": _BAR_AT, **more}
    return made | ({"style": style} if style else {})


def scale(figures: Iterable[float | None]) -> Spec:
    """Logarithmic where the figures lie too far apart for a linear axis and none is zero."""
    known = [figure for figure in figures if figure is not None]
    wide = bool(known) and min(known) > 0 and max(known) > LOG_FROM_RATIO * min(known)
    return {"type": "log"} if wide else {"type": "linear", "zero": True}


def is_log(chosen: Spec) -> bool:
    return chosen["type"] == "log"


def axis(title: str, form: str = PLAIN_AXIS, **more: Any) -> Spec:
    grid = {"condition": {"test": _STRONG_LINE, "value": 1}, "value": 0}
    common = {"tickCount": 5, "labelOverlap": True, "gridOpacity": grid}
    return {"title": title, "format": form, **common, **more}


def tooltip(*fields: tuple[str, str]) -> list[Spec]:
    """(field, title) pairs, worded figures only."""
    return [{"field": field, "title": title, "type": "nominal"} for field, title in fields]


def state_color(legend: bool = False) -> Spec:
    """The colour of a datum's ``state``."""
    from planner.report.charts.theme import STATES

    return {
        "field": "state",
        "type": "nominal",
        "scale": {"domain": list(STATES), "range": "ordinal"},
        "legend": {"title": None, "orient": "top"} if legend else None,
    }


def in_unit(field: str, as_field: str, per_unit: float) -> Spec:
    """A figure of the document in a larger unit, worked out by the chart."""
    return {"calculate": f"datum.{field} / {per_unit!r}", "as": as_field}


def in_gib(field: str, as_field: str) -> Spec:
    return in_unit(field, as_field, float(GIB))


def hours_unit(longest_hours: float) -> tuple[str, float]:
    """The unit for an axis of hours, and hours in one of it: as ``planner.units`` words them."""
    for limit, unit, per_unit in ((2 / 60, "seconds", 1 / 3600), (2, "minutes", 1 / 60)):
        if longest_hours < limit:
            return unit, per_unit
    return ("hours", 1.0) if longest_hours < 48 else ("days", 24.0)
