"""Which option to take and why, by rules that are rows with sources
(``profiles/rules/recommendation.csv``)."""

from __future__ import annotations

from collections.abc import Iterator

from planner import tables, units
from planner.answer.limits import hours_allowed
from planner.plan.options import Option
from planner.question import Question


def recommend(
    question: Question, options: list[Option], samples: int, task: str, parameters: int | None
) -> tuple[Option, str] | None:
    """(option, why), or None when nothing fits and keeps the limits."""
    able = [o for o in options if o.fits and keeps_limits(question, o)]
    for strategy, reason in advised(task, parameters, samples):
        ways = [o for o in able if o.strategy == strategy]
        if ways:
            best = min(ways, key=_cost)
            return best, f"{reason}; {_among(best, able)}"
    return None


def advised(task: str, parameters: int | None, samples: int) -> Iterator[tuple[str, str]]:
    """(strategy, why with its source) by the rules that match, the most advisable first."""
    for row in tables.rows("rules", "recommendation.csv"):
        if _matches(row, task, parameters, samples):
            yield (
                row["strategy"],
                f"{row['reason'][:1].upper()}{row['reason'][1:]} ({row['source']})",
            )


def keeps_limits(question: Question, option: Option) -> bool:
    usd = total_usd(question, option)
    if question.max_usd is not None and (usd is None or usd > question.max_usd):
        return False
    allowed = hours_allowed(question)
    return allowed is None or option.run.wall_hours.p50 <= allowed


def total_usd(question: Question, option: Option) -> float | None:
    """The whole project where it is served, else the training; None where no price is known."""
    project = option.project_usd(question.horizon_months)
    return project.p50 if project is not None else option.bill.usd.p50 if option.bill else None


def _matches(row: dict[str, str], task: str, parameters: int | None, samples: int) -> bool:
    if row["task"] and row["task"] != task:
        return False
    for value, low, high in (
        (parameters, row["min_params"], row["max_params"]),
        (samples, row["min_samples"], row["max_samples"]),
    ):
        if not (low or high):
            continue
        if value is None:
            return False
        if low and value < float(low) or high and value > float(high):
            return False
    return True


def _cost(option: Option) -> tuple[float, float]:
    return (option.bill.usd.p50 if option.bill else 0.0, option.run.gpu_hours.p50)


def _among(chosen: Option, able: list[Option]) -> str:
    """What it costs beside the cheapest and the dearest that fit."""
    if chosen.bill is None:
        return (
            f"{units.format_seconds(chosen.run.wall_hours.p50 * units.SECONDS_PER_HOUR)} on "
            f"{chosen.rented.spec.name}"
        )
    prices = [o.bill.usd.p50 for o in able if o.bill]
    return (
        f"{units.format_usd(chosen.bill.usd.p50)} where the options that fit cost "
        f"{units.format_usd(min(prices))} to {units.format_usd(max(prices))}"
        if len(prices) > 1
        else f"{units.format_usd(chosen.bill.usd.p50)}"
    )
