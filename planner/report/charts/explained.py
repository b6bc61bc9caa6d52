"""Charts of ``planner explain``: time and memory by module as treemaps, live bytes through a step.

Strings of the document are data of the charts, never parts of an expression. No colour is named
here: themes give them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

from planner.explain.rows import Leaf, memory_leaves, time_leaves
from planner.report.charts.marks import Spec, axis, chart, in_gib, in_unit, tooltip
from planner.report.views.option import PARTS
from planner.report.words import bytes_text, clean, seconds_text, share_text

Document = Mapping[str, Any]
VEGA = "https://vega.github.io/schema/vega/v6.json"
MAP_PX, TIMELINE_PX = 360, 260
#: Colours that a theme has for series; further kinds share the last.
COLOURS, OTHER = 7, "other"
#: What a box must measure for its name to stand in it.
_NAMED = "(datum.x1 - datum.x0) > 44 && (datum.y1 - datum.y0) > 17"
#: On a phone legends have fewer columns, and phases no names in the picture.
_COLUMNS, _PHASES_NAMED = "width < 480 ? 3 : 7", "width < 480 ? 0 : 1"
_WIDE = "isFinite(containerSize()[0]) ? containerSize()[0] : 680"


def time_map(document: Document) -> Spec:
    """A box a module, as large as its seconds, in the colour of the kind that takes most."""
    whole = document["time"]["seconds"]
    return _treemap(time_leaves(document), lambda seconds: seconds_text(seconds, whole))


def memory_map(document: Document) -> Spec:
    """A box a module, as large as what it holds at the peak, in the colour of its largest
    category."""
    # the order of the timeline, so that a category has one colour
    return _treemap(memory_leaves(document), bytes_text, tuple(PARTS))


def _treemap(
    leaves: Sequence[Leaf], word: Callable[[float], str], order: tuple[str, ...] = ()
) -> Spec:
    """``order``: what colours stand for, by default the largest first."""
    mains = list(order) or _mains(leaves)
    rows = [_row(leaf, mains, word) for leaf in leaves]
    return {
        "$schema": VEGA,
        "height": MAP_PX,
        "padding": 0,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "signals": [
            {
                "name": "width",
                "init": _WIDE,
                "on": [{"update": _WIDE, "events": "window:resize"}],
            }
        ],
        "data": [
            {
                "name": "tree",
                "values": rows,
                "transform": [
                    {"type": "stratify", "key": "key", "parentKey": "parent"},
                    {
                        "type": "treemap",
                        "field": "amount",
                        "sort": {"field": "value", "order": "descending"},
                        "round": True,
                        "paddingInner": 1,
                        "size": [{"signal": "width"}, {"signal": "height"}],
                    },
                ],
            },
            {
                "name": "boxes",
                "source": "tree",
                "transform": [{"type": "filter", "expr": "datum.amount != null"}],
            },
        ],
        "scales": [{"name": "main", "type": "ordinal", "domain": mains, "range": "category"}],
        "legends": [
            {
                "fill": "main",
                "orient": "top",
                "direction": "horizontal",
                "columns": {"signal": _COLUMNS},
                "aria": False,
            }
        ],
        "marks": [_boxes(), _names()],
    }


def _boxes() -> Spec:
    edges = {"x": "x0", "x2": "x1", "y": "y0", "y2": "y1"}
    place = {key: {"field": field} for key, field in edges.items()}
    fill = {"scale": "main", "field": "main"}
    shown = {**place, "fill": fill, "tooltip": {"signal": _TOLD}}
    return {"type": "rect", "aria": False, "from": {"data": "boxes"}, "encode": {"update": shown}}


def _names() -> Spec:
    """In the ink that can be read on the box; none where the box is too small."""
    ink = "contrast('#ffffff', scale('main', datum.main)) >= 4.5 ? '#ffffff' : '#0d1418'"
    return {
        "type": "text",
        "aria": False,
        "interactive": False,
        "from": {"data": "boxes"},
        "encode": {
            "update": {
                "x": {"field": "x0", "offset": 4},
                "y": {"field": "y0", "offset": 13},
                "text": {"field": "label"},
                "limit": {"signal": "max(1, datum.x1 - datum.x0 - 8)"},
                "fill": {"signal": ink},
                "fontSize": {"value": 11},
                "opacity": {"signal": f"{_NAMED} ? 1 : 0"},
            }
        },
    }


_TOLD = (
    "{'Module': datum.full, 'Amount': datum.words, 'Share': datum.share_words, "
    "'Most of it': datum.parts_words}"
)


def _mains(leaves: Sequence[Leaf]) -> list[str]:
    """What boxes are coloured by, the largest first."""
    totals: dict[str, float] = {}
    for leaf in leaves:
        if leaf.amount is not None:
            totals[leaf.main] = totals.get(leaf.main, 0.0) + leaf.amount
    ordered = sorted(totals, key=lambda name: -totals[name])
    return ordered if len(ordered) <= COLOURS else [*ordered[: COLOURS - 1], OTHER]


def _row(leaf: Leaf, mains: Sequence[str], word: Callable[[float], str]) -> dict[str, Any]:
    times = f" × {leaf.count}" if leaf.count > 1 else ""
    return {
        "key": leaf.key,
        "parent": leaf.parent,
        "amount": leaf.amount,
        "label": clean(leaf.name),
        "full": clean(leaf.path or leaf.name) + times,
        "words": word(leaf.total),
        "share_words": share_text(leaf.share),
        "parts_words": ", ".join(f"{clean(n)} {share_text(part)}" for n, part in leaf.parts),
        "main": leaf.main if leaf.main in mains else OTHER,
    }


def timeline(document: Document) -> Spec:
    """Live bytes by category through the step, stacked, with the phases beneath."""
    found = document["memory"]["timeline"]
    unit, per_unit = _seconds_unit(found["step_seconds"])
    names = list(found["bytes"])
    rows = [
        {
            "at": at,
            "category": name,
            "nth": nth,
            "bytes": found["bytes"][name][index],
            "bytes_words": bytes_text(found["bytes"][name][index]),
            "at_words": seconds_text(at, found["step_seconds"]),
            "phase": found["phases"][index],
        }
        for index, at in enumerate(found["seconds"])
        for nth, name in enumerate(names)
    ]
    area = {
        "mark": {"type": "area", "interpolate": "step-after", "opacity": 0.92, "aria": False},
        "encoding": {
            "x": {
                "field": "time",
                "type": "quantitative",
                "axis": axis(f"Time in step, {unit}"),
            },
            "y": {
                "field": "gib",
                "type": "quantitative",
                "stack": "zero",
                "axis": axis("Live tensors, GiB"),
            },
            "color": {
                "field": "category",
                "type": "nominal",
                "scale": {"domain": names},
                "legend": {"title": None, "orient": "top", "columns": {"expr": _COLUMNS}},
            },
            "order": {"field": "nth", "type": "quantitative"},
            "tooltip": tooltip(
                ("category", "Category"),
                ("bytes_words", "Alive"),
                ("at_words", "At"),
                ("phase", "Phase"),
            ),
        },
    }
    return chart(
        rows,
        [area, *_phases(found, per_unit)],
        height=TIMELINE_PX,
        transform=[in_gib("bytes", "gib"), in_unit("at", "time", per_unit)],
    )


def _phases(found: Document, per_unit: float) -> list[Spec]:
    """A line where a phase begins, and its name."""
    begins = [
        {"begin": at, "text": phase}
        for phase, points in groupby(
            zip(found["seconds"], found["phases"]), key=lambda point: point[1]
        )
        for at, _ in [next(points)]
    ]
    data = {
        "data": {"values": begins},
        "transform": [in_unit("begin", "time", per_unit)],
    }
    x = {"field": "time", "type": "quantitative"}
    return [
        {
            **data,
            "mark": {"type": "rule", "strokeDash": [3, 3], "aria": False},
            "encoding": {"x": x},
        },
        {
            **data,
            "mark": {
                "type": "text",
                "style": "note",
                "aria": False,
                "align": "left",
                "baseline": "top",
                "opacity": {"expr": _PHASES_NAMED},
                "dx": 4,
                "dy": 2,
            },
            "encoding": {
                "x": x,
                "y": {"value": 0},
                "text": {"field": "text"},
                "tooltip": tooltip(("text", "Phase")),
            },
        },
    ]


def _seconds_unit(seconds: float) -> tuple[str, float]:
    """The unit of an axis, and seconds in one of it: as ``planner.units`` words them."""
    unit = seconds_text(seconds).rpartition(" ")[2]
    return unit, {"µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}.get(unit, 86400.0)
