"""The budget report as one self-contained HTML page: styles and charts inline, nothing fetched, no
script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.report.formats import chart
from planner.report.formats.registry import Format
from planner.report.views import answer as answer_view
from planner.report.views import option as option_view


def html(answer: Mapping[str, Any]) -> str:
    """The page. Every string of the document is escaped by the template engine or by the chart."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("planner.report.formats"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    title, why = answer_view.recommendation(answer)
    return environment.get_template("report.html").render(
        answer=answer,
        view=answer_view,
        view_of=option_view,
        title=title,
        why=why,
        charts=_charts(answer["options"]),
        legend=option_view.PARTS,
        comparison=answer_view.comparison(answer),
    )


def _charts(options: list[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """(kind, heading, SVG) of each chart that has something to show."""
    whole = [option for option in options if (option.get("cost") or {}).get("project_usd")]
    trained = [option for option in options if option.get("run")] if whole else options
    drawn = [
        (
            "interval",
            "Cost of the project",
            chart.interval_chart(
                whole, "cost", "project_usd", "Cost of each option with its requests"
            ),
        ),
        (
            "interval",
            "Cost of training" if whole else "Cost",
            chart.interval_chart(trained, "cost", "usd", "Cost of each option"),
        ),
        (
            "interval",
            "GPU time",
            chart.interval_chart(options, "run", "gpu_hours", "GPU time of each option"),
        ),
        (
            "memory",
            "Peak memory of one device",
            chart.memory_chart(options, "Peak memory of each option"),
        ),
    ]
    return [(kind, heading, svg) for kind, heading, svg in drawn if svg]


FORMATS = (Format("answer", ".html", html, order=20),)
