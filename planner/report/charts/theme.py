"""A theme of ``planner/report/look.py`` as Vega-Lite's ``config``: specifications name no
colour."""

from __future__ import annotations

from typing import Any

from planner.report.look import CHART_PX, FONTS, Theme

#: States of a mark in this order take the colours of the range ``ordinal``.
STATES = ("recommended", "possible", "ruled out")


def config(theme: Theme) -> dict[str, Any]:
    """Colours, type and lines of every chart. A mark takes its colour by its ``style``."""
    axis = {
        "labelColor": theme.soft,
        "titleColor": theme.soft,
        "gridColor": theme.hair,
        "domainColor": theme.rule,
        "tickColor": theme.rule,
        "labelFontSize": CHART_PX["label"],
        "titleFontSize": CHART_PX["title"],
        "titleFontWeight": "normal",
        "titlePadding": 8,
        "labelPadding": 6,
        "domain": False,
        "ticks": False,
    }
    return {
        "background": None,
        "font": ", ".join(FONTS),
        "padding": {"left": 4, "right": 8, "top": 4, "bottom": 4},
        "aria": False,
        "mark": {"aria": False},
        "view": {"stroke": None},
        "axis": axis,
        "legend": {
            "labelColor": theme.ink,
            "titleColor": theme.soft,
            "labelFontSize": CHART_PX["label"],
            "symbolType": "square",
            "symbolStrokeWidth": 0,
            "symbolSize": 120,
            "rowPadding": 4,
            "columnPadding": 24,
            "offset": 10,
        },
        "range": {
            "category": list(theme.series),
            "ordinal": [theme.accent, theme.quiet, theme.bad],
        },
        "style": _styles(theme),
        "text": {"color": theme.ink, "font": ", ".join(FONTS)},
        "rule": {"color": theme.rule},
        "line": {"color": theme.accent},
    }


def _styles(theme: Theme) -> dict[str, Any]:
    label = {"fontSize": CHART_PX["label"]}
    return {
        "accent": {"color": theme.accent},
        "edge": {"color": theme.accent},
        "area": {"color": theme.accent, "opacity": 0.14},
        "path": {"color": theme.quiet},
        "less": {"color": theme.series[1]},
        "more": {"color": theme.series[3]},
        "limit": {"color": theme.bad},
        "middle": {"color": theme.ink},
        "name": {"color": theme.ink, "fontSize": CHART_PX["strong"], "fontWeight": 600},
        "value": {"color": theme.ink, **label},
        "note": {"color": theme.soft, **label},
        "warning": {"color": theme.bad, **label},
    }
