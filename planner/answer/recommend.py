"""Which option to take and why, by rules that are rows with sources
(``profiles/rules/recommendation.csv``)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from planner import tables, units
from planner.plan.adapters.asked import method_asked
from planner.plan.options import Option
from planner.plan.survey.candidate import Candidate
from planner.plan.survey.ways import Ways
from planner.question import Question


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a strategy is advised, and who says so."""

    text: str
    source: str

    def __str__(self) -> str:
        return f"{self.text} ({self.source})"


def recommend(ways: Ways) -> tuple[Candidate, Reason] | None:
    """(the cheapest way of the first strategy that the rules advise and the limits allow, why), or
    None when nothing fits and keeps the limits."""
    problem, question = ways.problem, ways.question
    if ways.licence is not None and not question.strategy:
        return None  # a licence is no reason to train from scratch
    task = question.task or problem.facts.task
    asked = ways.strategies
    known = (ways.parameters, problem.data.samples, asked)
    for strategy, reason in advised(task, *known, published=problem.facts.published_weights):
        best = ways.best(strategy) if strategy in ways.strategies else None
        if best is not None:
            return best, _of_method(ways.question, strategy) or reason
    return None


def _of_method(question: Question, strategy: str) -> Reason | None:
    """Of another method of adapters than LoRA, which the rules do not speak of."""
    method = method_asked(question, strategy)
    if method is None:
        return None
    words = method.words[:1].upper() + method.words[1:]
    text = f"{words} is what was asked for; no rule here says how well it learns beside other ways"
    return Reason(text, method.paper)


def advised(
    task: str,
    parameters: int | None,
    samples: int,
    asked: Collection[str] | None = None,
    *,
    published: bool = True,
) -> Iterator[tuple[str, Reason]]:
    """(strategy, why) by the rules that match, the most advisable first. ``asked``: the strategies
    that were tried, of which alone a reason speaks; None for all. ``published``: there are weights
    to start from."""
    for row in tables.rows("rules", "recommendation.csv"):
        if row["weights"] in ("", "published" if published else "none") and _matches(
            row, task, parameters, samples
        ):
            untried = asked is not None and set(row["says_of"].split()) - set(asked)
            text = row["of_those_asked"] if untried else row["reason"]
            text = text[:1].upper() + text[1:]
            yield row["strategy"], Reason(text, row["source"])


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


def among(chosen: Option, able: Sequence[Option]) -> str:
    """What it costs beside the cheapest and the dearest that fit and keep the limits."""
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
