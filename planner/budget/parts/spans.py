"""Where the hours go, and how surely the sum holds: what an option's own figures say."""

from __future__ import annotations

from planner.budget.parts.subject import Json, Subject
from planner.figures import Estimate

#: Chances at which the distribution of the bill is drawn.
CHANCES = (0.99, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01)


def times(subject: Subject) -> list[Json]:
    """Phases sum to the run; the parts of a phase to the phase, what is not told apart with
    them."""
    run = (subject.option or {}).get("run")
    if not run:
        subject.lacks("where the time goes: nothing that trains is recommended")
        return []
    whole = run["wall_hours"]["p50"]
    return [part for phase in run["breakdown_hours"] for part in _phase(run, phase, whole)]


def _phase(run: Json, phase: str, whole: float) -> list[Json]:
    hours, of = run["breakdown_hours"][phase], run["of_which_hours"].get(phase, {})
    if not hours:
        return []
    rest = hours - sum(of.values())
    parts = {name: part for name, part in of.items() if part}
    if parts and rest > 1e-9 * hours:
        parts["other"] = rest
    return [
        _time(phase, None, hours, whole),
        *(_time(phase, name, part, whole) for name, part in parts.items()),
    ]


def _time(phase: str, part: str | None, hours: float, whole: float) -> Json:
    share = min(1.0, hours / whole) if whole > 0 else 0.0
    return {"phase": phase, "part": part, "hours": hours, "share": share}


def chances(subject: Subject) -> list[Json]:
    """Points of the distribution of what is held against the budget, the cheapest first: the run,
    and serving where it is asked for."""
    bill = _held(subject)
    if bill is None:
        subject.lacks("the chance of each sum: no recommended way has a price")
        return []
    if bill.p10 == bill.p90:
        subject.lacks("the chance of each sum: this bill has no range")
        return []
    points = [{"usd": bill.exceeded_with(chance), "chance": chance} for chance in CHANCES]
    return [point for point in points if point["usd"] >= 0]


def chance_over_limit(subject: Subject) -> float | None:
    """That ``max_usd`` is not enough; None without it."""
    for limit in (subject.option or {}).get("limits", ()):
        if limit["limit"] == "max_usd":
            return 1.0 - limit["chance_kept"]
    return None


def _held(subject: Subject) -> Estimate | None:
    """What the limit is held against: the whole of the asked months where requests are asked."""
    cost = (subject.option or {}).get("cost")
    return None if not cost else Estimate(**(cost.get("project_usd") or cost["usd"]))


def chances_of(subject: Subject) -> str | None:
    """What the distribution is of, in words."""
    cost = (subject.option or {}).get("cost")
    if not cost:
        return None
    months = subject.question["horizon_months"]
    served = f"the run and {months:g} months of requests"
    return served if cost.get("project_usd") else "this run"
