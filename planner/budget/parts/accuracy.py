"""How right the planner was on runs like this one: reports of whole runs beside their plans
(``profiles/accuracy/whole_runs.csv``)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from planner import tables
from planner.budget.parts.headline import strategy_words
from planner.budget.parts.subject import Json, Subject
from planner.figures import Estimate
from planner.uncertainty.runs import runs_of

#: A plan is met where it is within this much of the report.
WITHIN = 0.30
#: Fewer runs of a kind say too little: the next wider kind is taken.
LEAST = 4
#: Runs that are shown, those nearest to this one in hours first.
SHOWN = 8


@dataclass(frozen=True)
class Reported:
    """A run as somebody reports it, in wall-clock hours, and its plan."""

    name: str
    modality: str
    strategy: str
    gpu: str
    hours: float
    planned: Estimate
    source: str
    checked: str

    @property
    def error(self) -> float:
        return self.planned.p50 / self.hours - 1

    @property
    def is_inside(self) -> bool:
        return self.planned.p10 <= self.hours <= self.planned.p90


def accuracy(subject: Subject) -> Json | None:
    """None where nothing that trains is recommended."""
    option = subject.option
    if option is None or option["run"] is None:
        subject.lacks("how right plans of such runs were: no run is recommended")
        return None
    modality = runs_of(str(option["training"].get("task") or subject.question["task"]))
    runs, like = _alike(modality, option["strategy"])
    hours = option["run"]["wall_hours"]["p50"]
    errors = [run.error for run in runs]
    return {
        "like": like,
        "runs": len(runs),
        "median_error": statistics.median(map(abs, errors)),
        "within_30_percent": sum(abs(error) <= WITHIN for error in errors) / len(runs),
        "inside_range": sum(run.is_inside for run in runs) / len(runs),
        "bias": math.exp(statistics.median(math.log1p(error) for error in errors)) - 1,
        "shown": [_shown(run) for run in _nearest(runs, hours)],
        "source": "whole runs as people report them, planned from their settings "
        f"(profiles/accuracy/whole_runs.csv, planned {max(run.checked for run in runs)})",
    }


def _alike(modality: str, strategy: str) -> tuple[list[Reported], str]:
    """(runs, which they are in words): of the same kind and strategy, else of the kind, else
    all."""
    words = strategy_words(strategy)
    both = [one for one in reported() if (one.modality, one.strategy) == (modality, strategy)]
    if len(both) >= LEAST:
        return both, f"runs of {words}, {modality}"
    kind = [one for one in reported() if one.modality == modality]
    few = f"only {len(both)} of them {words}" if both else f"none of them {words}"
    if len(kind) >= LEAST:
        return kind, f"runs of any strategy, {modality}; {few}"
    return list(reported()), f"runs of any kind; {len(kind)} of them {modality or 'like this one'}"


def _nearest(runs: Sequence[Reported], hours: float) -> list[Reported]:
    def far(run: Reported) -> tuple[float, str]:
        return (abs(math.log(run.hours / hours)) if hours > 0 else run.hours), run.name

    return sorted(runs, key=far)[:SHOWN]


def _shown(run: Reported) -> Json:
    return {
        "name": run.name,
        "strategy": run.strategy,
        "gpu": run.gpu,
        "reported_hours": run.hours,
        "planned_hours": run.planned.p50,
        "error": run.error,
        "source": run.source,
    }


@cache
def reported() -> tuple[Reported, ...]:
    return tuple(map(_of_row, tables.rows("accuracy", "whole_runs.csv")))


def _of_row(row: dict[str, str]) -> Reported:
    count = f"{row['gpus']} × " if row["gpus"] != "1" else ""
    figures = (row["planned_p10_hours"], row["planned_hours"], row["planned_p90_hours"])
    return Reported(
        name=row["model"],
        modality=row["modality"],
        strategy=row["strategy"],
        gpu=f"{count}{row['gpu']}",
        hours=float(row["reported_hours"]),
        planned=Estimate(*map(float, figures)),
        source=row["source"],
        checked=row["checked_date"],
    )
