"""The project as people run it, beside the single run: lines that go from few repeats to many."""

from __future__ import annotations

from planner import tables
from planner.budget.parts.subject import Json, Subject
from planner.cost.bill import Bill
from planner.plan.billing import as_people_run, habits_of
from planner.question import Question

#: Of ``Habits.parts``: what people call them, and the unit of the quantity.
NAMES = {
    "run": ("One run", "run"),
    "trials": ("Further trials", "runs"),
    "failed_share": ("Runs that fail", "runs"),
    "debug_hours": ("Debugging before the first run goes through", "hours"),
    "idle_share": ("Paid hours in which nothing runs", "share of hours"),
}
#: What no number of runs changes.
FIXED = {
    "data": "Labels",
    "storage": "Storage",
    "egress": "Taking the trained weights out",
    "api": "What a provider asks",
}


def project_lines(subject: Subject) -> Json | None:
    """None where nothing that trains is recommended at a known price."""
    if subject.made is None or subject.trained is None or subject.trained[1].bill is None:
        subject.lacks(_why_not(subject))
        return None
    candidate, option = subject.trained
    bill = option.bill
    assert bill is not None
    return _project(subject.made.problem.question, bill, candidate.rented.parallel.devices)


def _why_not(subject: Subject) -> str:
    option = subject.option
    if option is not None and option["run"] is None:
        return "the project around the run: nothing is trained here"
    if option is not None and option["cost"] is not None:
        return "the project around the run: the answer holds its sums only"
    return "the project around the run: no recommended run has a price"


def _project(question: Question, bill: Bill, devices: int) -> Json:
    project = as_people_run(question, bill, devices)
    few, many = (
        habits.parts(project.run_usd, bill.usd_per_gpu_hour * devices)
        for habits in habits_of(question)
    )
    lines = [_line(question, key, few[key], many[key]) for key in few]
    lines += [_fixed(name, bill.breakdown[part]) for part, name in FIXED.items()]
    return {
        "run_usd": project.run_usd,
        "low_usd": project.low_usd,
        "high_usd": project.high_usd,
        "lines": [line for line in lines if line["high_usd"] > 0],
    }


def _line(
    question: Question, key: str, few: tuple[float, float], many: tuple[float, float]
) -> Json:
    name, unit = NAMES[key]
    row = next((row for row in tables.rows("defaults", "project.csv") if row["key"] == key), None)
    taken = None if key in question.model_fields_set else row  # what is given wins over a row
    return {
        "name": name,
        "low": few[0],
        "high": many[0],
        "unit": unit,
        "low_usd": few[1],
        "high_usd": many[1],
        "note": taken["why"] if taken else "as given" if row else None,
        "source": taken["source"] if taken else None,
    }


def _fixed(name: str, usd: float) -> Json:
    return {
        "name": name,
        "low": 1.0,
        "high": 1.0,
        "unit": "in all",
        "low_usd": usd,
        "high_usd": usd,
        "note": None,
        "source": None,
    }
