"""The judge's comparisons of hours as the table that ships: ``profiles/accuracy/whole_runs.csv``,
from which every report says how right the planner was on runs like its own."""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Sequence

from benchmarks.whole.outcome import Outcome

COLUMNS = tuple(
    "name model modality strategy trainer gpu gpus reported_hours planned_hours planned_p10_hours "
    "planned_p90_hours source date checked_date".split()
)
HEAD = (
    "# Whole runs that people report, of known settings, beside what is planned for each from "
    "those settings alone. Hours: wall-clock, over all gpus; planned: the median and its range. "
    "date: of the run, as the report has it; checked_date: of the plan. Written by python "
    "benchmarks/whole_runs.py --accuracy profiles/accuracy/whole_runs.csv; none is edited by "
    "hand.\n"
)


def to_csv(outcomes: Sequence[Outcome], day: datetime.date) -> str:
    """Trusted reports whose hours could be compared, by name."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    chosen = [one for one in outcomes if one.report.trusted and one.hours is not None]
    writer.writerows(_row(one, day) for one in sorted(chosen, key=lambda one: one.report.id))
    return HEAD + out.getvalue()


def _row(outcome: Outcome, day: datetime.date) -> tuple[str, ...]:
    report, asked, hours = outcome.report, outcome.asked, outcome.hours
    assert hours is not None
    ours = hours.ours
    figures = (hours.theirs, ours.p50, ours.p10, ours.p90)
    return (
        report.id,
        report["model"],
        asked.modality,
        str(asked.fields["strategy"]),
        str(asked.fields["stack"]).partition("-")[0],
        report["gpu"],
        str(report.gpus),
        *(f"{figure:.4g}" for figure in figures),
        report["source"],
        report["date"],
        day.isoformat(),
    )
