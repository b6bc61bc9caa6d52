"""The order to go in, with what each stage costs, and what the data supports: ``planner choose``'s,
for the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.budget.parts.subject import Json, Subject
from planner.choose.decision import stage_costs
from planner.choose.stages import data_support, staged_plan
from planner.errors import PlannerError
from planner.units import format_usd


def stages(subject: Subject) -> list[Json]:
    made = subject.made
    if made is None:
        subject.lacks("the stages to go in: the answer was read from a file")
        return []
    try:
        costs = stage_costs(made.ways.survey, made.paid)
    except PlannerError as error:
        subject.lacks(f"the stages to go in: {error}")
        return []
    return [_stage(row) for row in staged_plan(made.problem, costs)]


def _stage(row: Mapping[str, Any]) -> Json:
    return {
        "name": row["stage"],
        "strategy": row["strategy"],
        "usd": row["usd"],
        "spent_by_then_usd": row["spent_usd"],
        "where": row["where"],
        "do": row["do"],
        "go_on": f"Go on while {row['go_on_while']}; stop when {row['stop_when']}",
        "why_not": _why_not(row),
        "instead": row["instead"],
        "sum_lacks": row["sum_lacks"],
        "source": row["source"],
    }


def _why_not(row: Mapping[str, Any]) -> str | None:
    each, why = row["usd_per_request"], row["why_not"]
    return f"{format_usd(each)} a request; {why}" if why and each else why


def enough(subject: Subject) -> list[Json]:
    made = subject.made
    if made is None:
        subject.lacks("whether the data is enough: the answer was read from a file")
        return []
    return [_supported(row) for row in data_support(made.problem)]


def _supported(row: Mapping[str, Any]) -> Json:
    return {
        "strategy": row["strategy"],
        "verdict": row["verdict"],
        "needed": _needed(row),
        "reason": row["reason"],
        "source": row["source"],
    }


def _needed(row: Mapping[str, Any]) -> str | None:
    """``at least 8 samples a class; there are 100``."""
    low, high, per = row["min_samples"], row["max_samples"], row["per"]
    unit = {"class": "samples a class", "total": "samples"}.get(per, per or "samples")
    parts = [f"at least {low:,.0f}"] if low is not None else []
    parts += [f"up to {high:,.0f}"] if high is not None else []
    if not parts:
        return None
    have = "" if row["have"] is None else f"; there are {row['have']:,.0f}"
    return f"{', '.join(parts)} {unit}{have}"
