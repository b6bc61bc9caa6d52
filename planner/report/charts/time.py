"""Time of the recommended run by phase, and of one micro-batch by kind of work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.report.charts.alternative import told
from planner.report.charts.marks import (
    BAR_PX,
    Spec,
    axis,
    bar,
    hours_unit,
    in_unit,
    row_chart,
    tooltip,
)
from planner.report.views.budget import options
from planner.report.words import clean, hours_text, label, seconds_text

Row = dict[str, Any]


def phases_spec(document: Mapping[str, Any]) -> Spec | None:
    rows = _phases(document)
    return _bars(rows, "hours", "Part", max(row["hours"] for row in rows)) if rows else None


def phases_alt(document: Mapping[str, Any]) -> str:
    return told(_phases(document), "hours")


def kinds_spec(document: Mapping[str, Any]) -> Spec | None:
    """Kinds that take any time, longest first."""
    rows = _kinds(document)
    if not rows:
        return None
    longest = rows[0]["seconds"]
    unit, per_unit = ("milliseconds", 1e-3) if longest < 1 else ("seconds", 1.0)
    return _drawn(rows, "seconds", "Kind", unit, per_unit)


def kinds_alt(document: Mapping[str, Any]) -> str:
    return told(_kinds(document), "seconds")


def _phases(document: Mapping[str, Any]) -> list[Row]:
    return [
        {
            "row": row,
            "name": label(clean(phase)),
            "words": hours_text(hours) if share is None else f"{hours_text(hours)} · {share}",
            "hours": hours,
        }
        for row, (phase, hours, share) in enumerate(options.phases(document))
    ]


def _kinds(document: Mapping[str, Any]) -> list[Row]:
    step = (options.chosen(document) or {}).get("step") or {}
    spent = [(kind, seconds) for kind, seconds in (step.get("by_kind") or {}).items() if seconds]
    spent.sort(key=lambda pair: pair[1], reverse=True)
    return [
        {"row": row, "name": label(kind), "words": seconds_text(seconds), "seconds": seconds}
        for row, (kind, seconds) in enumerate(spent)
    ]


def _bars(rows: list[Row], field: str, what: str, longest: float) -> Spec:
    unit, per_unit = hours_unit(longest)
    return _drawn(rows, field, what, unit, per_unit)


def _drawn(rows: list[Row], field: str, what: str, unit: str, per_unit: float) -> Spec:
    """Bars of a duration from zero, on a rail as wide as the chart."""
    tip = tooltip(("name", what), ("words", "Time"))
    x = {"field": "shown", "type": "quantitative", "axis": axis(unit)}
    layer = {"mark": bar("accent", height=BAR_PX), "encoding": {"x": x, "tooltip": tip}}
    return row_chart(rows, [layer], transform=[in_unit(field, "shown", per_unit)])
