"""Memory at its peak, by part, against the line where the GPU ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.report.charts.alternative import told
from planner.report.charts.marks import (
    BAR_PX,
    Spec,
    axis,
    bar,
    in_gib,
    mark,
    row_chart,
    tooltip,
)
from planner.report.views import option as option_view
from planner.report.views.budget import options
from planner.report.views.table import one_line
from planner.report.words import bytes_text

#: At this width of the chart the legend goes from all parts in a line to three.
_LEGEND_COLUMNS = "width < 560 ? 3 : 7"


def spec(document: Mapping[str, Any]) -> Spec | None:
    """A row an option that is held in memory: its parts stacked."""
    rows = _parts(document)
    if not rows:
        return None
    tip = tooltip(
        ("name", "Strategy"),
        ("part", "Part"),
        ("bytes_words", "Memory"),
        ("words", "On the GPU"),
    )
    gib = {"field": "gib", "type": "quantitative", "axis": axis("GiB on one GPU")}
    color = {
        "field": "part",
        "type": "nominal",
        "scale": {"domain": list(option_view.PARTS)},
        "legend": {"title": None, "orient": "top", "columns": {"expr": _LEGEND_COLUMNS}},
    }
    picked = {
        "name": "part_picked",
        "select": {"type": "point", "fields": ["part"]},
        "bind": "legend",
    }
    layers = [
        {
            "params": [picked],
            "mark": bar(),
            "encoding": {
                "x": {**gib, "stack": "zero"},
                "color": color,
                "order": {"field": "nth_part", "type": "quantitative"},
                "opacity": {"condition": {"param": "part_picked", "value": 1}, "value": 0.2},
                "tooltip": tip,
            },
        },
        {
            "mark": mark("tick", "limit", thickness=2.5, height=BAR_PX + 10),
            "encoding": {
                "x": {**gib, "field": "total_gib", "aggregate": "max"},
                "tooltip": tooltip(("total_words", "Memory of the GPU")),
            },
        },
    ]
    return row_chart(rows, layers, transform=[in_gib("bytes", "gib"), in_gib("total", "total_gib")])


def alt(document: Mapping[str, Any]) -> str:
    return told([row for row in _parts(document) if row["nth_part"] == 0])


def _parts(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    held = [option for option in document["options"] if option.get("memory")]
    return [
        {
            "row": row,
            "name": options.title(document, option),
            "words": one_line(option_view.memory(option)),
            "part": part,
            "nth_part": nth,
            "bytes": option["memory"]["breakdown"][part],
            "bytes_words": bytes_text(option["memory"]["breakdown"][part]),
            "total": option["memory"]["device_total_bytes"],
            "total_words": bytes_text(option["memory"]["device_total_bytes"]),
        }
        for row, option in enumerate(held)
        for nth, part in enumerate(option_view.PARTS)
        if part in option["memory"]["breakdown"]
    ]
