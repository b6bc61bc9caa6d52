"""What the money goes to: the recommended option's bill as lines of quantity × price."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from planner.budget.parts.paid_lines import paid_lines
from planner.budget.parts.subject import Json, Subject
from planner.cost.bill import Bill
from planner.cost.quantities import Quantity
from planner.cost.token_bills import serving_default
from planner.errors import FieldName
from planner.plan.options import Option

#: Phases of a run as a bill calls them.
PHASES = {
    "preparation": "Preparing the data",
    "start_up": "Starting up",
    "training": "Training",
    "evaluation": "Evaluation",
    "generation": "Writing completions",
    "scoring": "Scoring completions",
    "reference": "The reference's pass",
    "saving": "Saving checkpoints",
    "interruptions": "Work lost to interruptions",
    "stragglers": "Waiting for the slowest devices",
}
#: Of a breakdown's parts that are no hours, their names where only the dollars are known.
PARTS = {
    "repeats": "Further runs",
    "data": "Labels",
    "storage": "Storage",
    "egress": "Taking the trained weights out",
    "api": "What a provider asks",
}


def bill_lines(subject: Subject) -> list[Json]:
    """Lines of the group ``run`` sum to ``cost.usd.p50``; those of ``serving`` to what serving
    takes for the asked months."""
    option = subject.option
    if option is None or option["cost"] is None:
        subject.lacks(
            "lines of the bill: nothing is recommended"
            if option is None
            else f"lines of the bill: no price is known ({FieldName('price')} gives it)"
        )
        return []
    return [
        *(_line("run", one) for one in _run(subject, option) if one.usd > 0),
        *(_line("serving", one) for one in _serving(subject) if one.usd > 0),
    ]


def _run(subject: Subject, option: Json) -> Iterator[Quantity]:
    if subject.trained is not None:
        yield from _trained(subject.trained[1], subject.question["trials"])
    elif subject.made is not None and option["run"] is None:
        yield from paid_lines(subject.made, subject.made.paid[_place_among_paid(subject)])
    else:
        subject.lacks("quantities of storage, labels and tokens: the answer holds their sums only")
        yield from _from_sums(option)


def _place_among_paid(subject: Subject) -> int:
    """Options that are paid by the token stand after those that train."""
    assert subject.made is not None and subject.index is not None
    return subject.index - len(subject.made.options)


def _trained(option: Option, trials: int) -> Iterator[Quantity]:
    bill = option.bill
    assert bill is not None
    hours = _hours_by_phase(
        option.run.parts_hours, bill.paid_gpu_hours, option.rented.parallel.devices
    )
    yield from _gpu_lines(hours, bill.usd_per_gpu_hour, bill.price_source, bill.price_date)
    yield from _repeats(bill, trials)
    yield from bill.quantities


def _hours_by_phase(
    parts_hours: Mapping[str, float], paid: float, devices: int
) -> dict[str, float]:
    """Device-hours; what the provider's rounding adds is a line of its own."""
    hours = {name: part * devices for name, part in parts_hours.items()}
    return hours | {"rounding": max(0.0, paid - sum(hours.values()))}


def _gpu_lines(
    hours: Mapping[str, float], rate: float, source: str | None, date: str | None
) -> Iterator[Quantity]:
    for name, amount in hours.items():
        rounding = name == "rounding"
        words = "Rounding up by the provider" if rounding else PHASES.get(name, name)
        yield Quantity(words, amount, "GPU-hours", rate, source, date)


def _repeats(bill: Bill, asked: int) -> Iterator[Quantity]:
    """Whole runs more, at what the run costs."""
    run_usd = bill.paid_gpu_hours * bill.usd_per_gpu_hour
    trials = min(bill.extra_runs, asked - 1.0)
    yield Quantity("Further trials", trials, "runs", run_usd, bill.price_source, bill.price_date)
    failed = max(0.0, bill.extra_runs - trials)
    yield Quantity("Runs that fail", failed, "runs", run_usd, bill.price_source, bill.price_date)


def _from_sums(option: Json) -> Iterator[Quantity]:
    """From an answer's document alone: hours by phase, all else as one sum."""
    cost, run = option["cost"], option["run"]
    parts, rate = cost["breakdown"], cost["usd_per_gpu_hour"]
    source, date = cost["price_source"], cost["price_date"]
    if run is not None and rate:
        paid = (parts["compute"] + parts.get("lost_work", 0.0)) / rate
        hours = _hours_by_phase(run["breakdown_hours"], paid, option["gpus"])
        yield from _gpu_lines(hours, rate, source, date)
    for name, words in PARTS.items():
        yield Quantity(words, 1.0, "in all", parts.get(name, 0.0), source, date)


def _serving(subject: Subject) -> Iterator[Quantity]:
    """Whole servers that stand for the asked months."""
    if subject.trained is None:
        return
    option, months = subject.trained[1], subject.question["horizon_months"]
    serving, place = option.serving, option.served_on
    if serving is None or serving.line is None or place is None or place.offer is None:
        return
    servers = serving.line.servers(serving.requests_per_month)
    yield Quantity(
        "Serving on whole servers",
        servers * serving_default("hours_per_month") * months,
        "server-hours",
        place.offer.usd_per_instance_hour,
        place.offer.source,
        place.offer.captured_date.isoformat(),
        f"{servers} × {place.spec.name} at {place.offer.provider}, {months:g} months",
    )


def _line(group: str, one: Quantity) -> Json:
    return {
        "group": group,
        "name": one.name,
        "quantity": one.amount,
        "unit": one.unit,
        "usd_per_unit": one.usd_per_unit,
        "usd": one.usd,
        "note": one.note,
        "source": one.source,
        "date": one.date,
    }
