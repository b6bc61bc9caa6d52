"""Which charts a report has: each a pure function of the document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from planner.report.charts import chances, costs, memory, offers, sensitivity, time
from planner.report.charts.marks import Spec

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Chart:
    """``spec(document)``: a Vega-Lite specification with its data inside and no colours of its own,
    None where the document has nothing to draw. ``caption``: one line below the chart;
    ``alt(document)``: what it shows, in words, for those who do not see it."""

    key: str
    title: str
    caption: str
    spec: Callable[[Document], Spec | None]
    alt: Callable[[Document], str]


CHARTS = {
    chart.key: chart
    for chart in (
        Chart(
            "costs",
            "Cost by strategy",
            "Dot: median. Bar: the range in which eight of ten such runs end (p10 to p90).",
            costs.spec,
            costs.alt,
        ),
        Chart(
            "project_costs",
            "Cost of the project by strategy",
            "Training and answering the requests asked for. Dot: median. Bar: p10 to p90.",
            costs.project_spec,
            costs.project_alt,
        ),
        Chart(
            "bill",
            "What the money goes to",
            "Lines of the bill of the recommended run.",
            costs.bill_spec,
            costs.bill_alt,
        ),
        Chart(
            "around",
            "The project around the run",
            "Bars: from few trials and little lost time to many and much.",
            costs.around_spec,
            costs.around_alt,
        ),
        Chart(
            "memory",
            "Memory at its peak against the GPU",
            "Parts of one GPU's memory at the fullest moment of a step; the line is where the GPU "
            "ends.",
            memory.spec,
            memory.alt,
        ),
        Chart(
            "phases",
            "Time by phase",
            "Wall-clock time of the recommended run, by what it is spent on.",
            time.phases_spec,
            time.phases_alt,
        ),
        Chart(
            "kinds",
            "One micro-batch by kind of work",
            "GPU time of one pass over a micro-batch, by kind of operation; a step makes as many "
            "passes as it accumulates.",
            time.kinds_spec,
            time.kinds_alt,
        ),
        Chart(
            "offers",
            "Hours against dollars",
            "Each dot is one GPU at one provider. On the line no other is both cheaper and faster.",
            offers.spec,
            offers.alt,
        ),
        Chart(
            "sensitivity",
            "What the sum hangs on",
            "Each bar asks the plan again with one assumption changed, the others kept.",
            sensitivity.spec,
            sensitivity.alt,
        ),
        Chart(
            "chances",
            "The chance of costing more",
            "How likely it is that the run costs more than a sum.",
            chances.spec,
            chances.alt,
        ),
    )
}


def drawn(document: Document, keys: tuple[str, ...]) -> list[tuple[Chart, Spec]]:
    """Those of ``keys`` that have something to show, with their specifications."""
    pairs = [(CHARTS[key], CHARTS[key].spec(document)) for key in keys]
    return [(chart, spec) for chart, spec in pairs if spec is not None]
