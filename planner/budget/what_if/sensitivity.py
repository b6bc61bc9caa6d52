"""What one assumption does to the recommended run, each asked anew (a tornado): spans are rows of
``profiles/defaults/sensitivity.csv``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from planner import tables
from planner.budget.parts.subject import Json, Subject
from planner.budget.what_if.changed_data import longer, more_samples
from planner.errors import PlannerError
from planner.plan.billed import billed
from planner.plan.billing import habits_of
from planner.plan.inputs.hardware import Hardware, RentedDevice
from planner.plan.inputs.problem import Problem
from planner.plan.options import Option
from planner.plan.survey.candidate import Candidate, candidate
from planner.plan.survey.offered import Market
from planner.plan.survey.survey import survey
from planner.units import SECONDS_PER_HOUR, format_seconds, format_usd

#: Terms that name a provider: the price is varied over all of them.
ANY_PROVIDER = {
    "provider": None,
    "region": None,
    "commitment": None,
    "price": None,
    "owned_usd": None,
    "owned_years": None,
    "owned_utilisation": None,
    "usd_per_kwh": None,
}


@dataclass(frozen=True)
class End:
    """One end of a span: the value in words, and the run at it."""

    words: str
    usd: float | None
    hours: float | None


@dataclass(frozen=True)
class Case:
    """The recommended way, and the problem that it answers."""

    problem: Problem
    own: Candidate
    option: Option

    def again(self, problem: Problem, devices: int | None = None) -> Candidate:
        """The same strategy, GPU and offer in another problem, proven. Raises PlannerError where it
        cannot be planned or does not fit."""
        strategy, variant = self.own.placement.strategy, self.own.placement.variant.name
        asked = problem.question.model_copy(update={"strategy": [strategy]})
        count = devices or self.own.placement.parallel.devices
        hardware = Hardware([self.own.placement.spec], False)
        found = survey(problem.changed(asked), hardware, counts=(count,))
        places = [place for place in found.places(strategy) if place.variant.name == variant]
        found.prove(places)
        able = [one for place in places for one in place.candidates]
        if not able:
            raise found.refusal(strategy)
        return min(able, key=lambda one: (not self._is_own_offer(one), one.order))

    def _is_own_offer(self, one: Candidate) -> bool:
        own, other = self.own.rented.offer, one.rented.offer
        if own is None or other is None:
            return own is other
        return (own.provider, own.region, own.instance_type) == (
            other.provider,
            other.region,
            other.instance_type,
        )


def sensitivity(subject: Subject) -> list[Json]:
    """The widest in dollars first (in hours where no price is known)."""
    if subject.made is None or subject.trained is None:
        why = (
            "the answer was read from a file"
            if subject.made is None
            else "nothing that trains is recommended"
        )
        subject.lacks(f"what changing an assumption does: {why}")
        return []
    case = Case(subject.made.problem, *subject.trained)
    rows = tables.rows("defaults", "sensitivity.csv")
    found = [one for row in rows if (one := _varied(subject, case, row)) is not None]
    return sorted(found, key=_width, reverse=True)


def _varied(subject: Subject, case: Case, row: Mapping[str, str]) -> Json | None:
    """None where the assumption is none of this run's, or cannot be varied, which is said."""
    if subject.progress is not None:
        subject.progress(f"varying {row['what'].lower()}", 0, 1)
    try:
        ends = WAYS[row["key"]](case, row)
    except PlannerError as error:
        subject.lacks(f"sensitivity to {row['what'].lower()}: {error}")
        return None
    if ends is None:
        return None
    low, high = ends
    return {
        "what": row["what"],
        "field": _field(case, row),
        "low": low.words,
        "high": high.words,
        "usd_low": low.usd,
        "usd_high": high.usd,
        "hours_low": low.hours,
        "hours_high": high.hours,
        "why": f"{row['why']} ({row['source']})",
    }


def _field(case: Case, row: Mapping[str, str]) -> str | None:
    if row["key"] == "epochs" and case.own.placement.variant.choices.steps is not None:
        return "max_steps"
    return row["field"] or None


def _width(one: Json) -> float:
    usd = [value for value in (one["usd_low"], one["usd_high"]) if value is not None]
    hours = [value for value in (one["hours_low"], one["hours_high"]) if value is not None]
    figures = usd or hours
    return max(figures) - min(figures) if figures else 0.0


# ---------------------------------------------------------------- one assumption each

Ends = tuple[End, End] | None


def _epochs(case: Case, row: Mapping[str, str]) -> Ends:
    """Epochs, or steps where the run is made of steps."""
    choices = case.own.placement.variant.choices
    if choices.steps is not None:
        own: float = choices.steps
        name, unit, whole = "max_steps", "steps", True
    else:
        own, name, unit, whole = choices.epochs, "epochs", row["unit"], False

    def at(factor: float) -> End:
        value = max(1, round(own * factor)) if whole else own * factor
        question = case.problem.question.model_copy(update={name: value})
        return _end(f"{value:,.3g} {unit}", case.again(case.problem.changed(question)))

    return at(float(row["low"])), at(float(row["high"]))


def _samples(case: Case, row: Mapping[str, str]) -> Ends:
    def at(factor: float) -> End:
        problem = more_samples(case.problem, factor)
        return _end(f"{problem.data.samples:,} {row['unit']}", case.again(problem))

    return at(float(row["low"])), at(float(row["high"]))


def _length(case: Case, row: Mapping[str, str]) -> Ends:
    """None for data that has no lengths."""
    if longer(case.problem, 1.0) is None:
        return None

    def at(factor: float) -> End:
        changed = longer(case.problem, factor)
        assert changed is not None
        problem, words = changed
        return _end(words, case.again(problem))

    return at(float(row["low"])), at(float(row["high"]))


def _price(case: Case, row: Mapping[str, str]) -> Ends:
    """The same placement at the cheapest and at the dearest provider."""
    question = case.problem.question.model_copy(update=ANY_PROVIDER)
    problem, placement = case.problem.changed(question), case.own.placement
    if case.own.rented.offer is None:
        return None
    rented = Market(question).of(placement.spec, placement.parallel)
    offered = _without_idle([one for one in rented if one.offer is not None])
    if len(offered) < 2:
        return None
    priced = sorted((candidate(problem, placement, one) for one in offered), key=lambda o: o.order)
    low, high = (
        _end(
            f"{format_usd(one.known_bill.usd_per_gpu_hour)} {row['unit']} at {one.offer.provider}",
            one,
        )
        for one in (priced[0], priced[-1])
    )
    return low, high


def _without_idle(rented: list[RentedDevice]) -> list[RentedDevice]:
    """Offers of no more GPUs than are used, where there are any: the price of eight is no price of
    one."""
    whole = [
        one
        for one in rented
        if one.offer is not None
        and one.offer.instances_for(one.parallel.devices) * (one.offer.gpu_count or 1)
        == one.parallel.devices
    ]
    return whole or rented


def _hours(case: Case, row: Mapping[str, str]) -> Ends:
    """The bill of the same work at the low and the high end of the run's hours."""
    wall = case.own.placement.run.wall_hours

    def at(hours: float) -> End:
        usd = _billed_at(case.problem, case.own, case.own.rented, hours)
        return End(f"{format_seconds(hours * SECONDS_PER_HOUR)}", usd, hours)

    return at(wall.p10), at(wall.p90)


def _billed_at(
    problem: Problem, own: Candidate, rented: RentedDevice, hours: float
) -> float | None:
    placement = own.placement
    factor = hours / placement.run.wall_hours.p50 if placement.run.wall_hours.p50 else 1.0
    run = replace(
        placement.run,
        wall_hours=placement.run.wall_hours.scale(factor),
        gpu_hours=placement.run.gpu_hours.scale(factor),
        parts_hours={name: part * factor for name, part in placement.run.parts_hours.items()},
    )
    bill = billed(problem, replace(placement, run=run), rented)[1]
    return None if bill is None else bill.usd.p50


def _gpus(case: Case, row: Mapping[str, str]) -> Ends:
    def at(count: int) -> End:
        words = f"{count} GPU{'' if count == 1 else 's'}"
        return _end(words, case.again(case.problem, count))

    return at(int(row["low"])), at(int(row["high"]))


def _trials(case: Case, row: Mapping[str, str]) -> Ends:
    return _habit(case, "trials", lambda value: f"{value:,} runs")


def _failed_share(case: Case, row: Mapping[str, str]) -> Ends:
    return _habit(case, "failed_share", lambda value: f"{value:.0%} fail")


def _habit(case: Case, key: str, words: Callable[[Any], str]) -> Ends:
    """None where the question says it: then it is no assumption."""
    question = case.problem.question
    if key in question.model_fields_set:
        return None
    few, many = habits_of(question)

    def at(value: float) -> End:
        problem = case.problem.changed(question.model_copy(update={key: value}))
        return _end(words(value), candidate(problem, case.own.placement, case.own.rented))

    return at(getattr(few, key)), at(getattr(many, key))


def _end(words: str, one: Candidate) -> End:
    return End(words, one.bill.usd.p50 if one.bill else None, one.hours)


#: How each row of the table is asked.
WAYS: dict[str, Callable[[Case, Mapping[str, str]], Ends]] = {
    "epochs": _epochs,
    "samples": _samples,
    "length": _length,
    "price": _price,
    "utilisation": _hours,
    "gpus": _gpus,
    "trials": _trials,
    "failed_share": _failed_share,
}
