"""What is known at one moment of a run that is under way, in figures and in one line; and what a
plan says that it is held against."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from planner import units
from planner.errors import QuestionError
from planner.figures import Estimate

SECONDS = units.SECONDS_PER_HOUR
#: A phase of a plan's run → what a forecast calls the pauses that it is made of.
PAUSES = {"evaluation": "evaluation", "saving": "saving"}
#: What is paid for before a program can look at its clock, by the plan's names.
BEFORE = ("start the machine",)


@dataclass(frozen=True)
class PlannedRun:
    """What a plan says of one run. ``hours`` None without a plan. ``pauses``: how many evaluations
    and savings; ``pause_seconds``: one of each, with the range of the plan's hours.
    ``before_seconds``: until the program starts."""

    hours: Estimate | None = None
    usd_per_hour: float | None = None
    pauses: Mapping[str, int] = field(default_factory=dict[str, int])
    pause_seconds: Mapping[str, Estimate] = field(default_factory=dict[str, Estimate])
    before_seconds: float = 0.0


@dataclass(frozen=True)
class Outlook:
    """Seconds of the wall clock, ``end_seconds`` of the whole run. ``usd_per_hour`` of all devices,
    None where no price is known. ``unseen``: pauses that are still to come and that nothing is
    known of, which are in no figure."""

    done: int
    steps: int
    spent_seconds: float
    end_seconds: Estimate
    usd_per_hour: float | None
    plan: PlannedRun
    unseen: tuple[str, ...] = ()

    @property
    def spent_usd(self) -> float | None:
        return usd_of(self.spent_seconds, self.usd_per_hour)

    @property
    def end_usd(self) -> Estimate | None:
        """At the price an hour; storage, labels and repeats are no part of it."""
        price, end = self.usd_per_hour, self.end_seconds
        if price is None:
            return None
        return Estimate(*(units.hours(value) * price for value in (end.p10, end.p50, end.p90)))

    @property
    def passes_plan(self) -> bool:
        """Will it more likely than not take longer than the plan's 90th percentile?"""
        plan = self.plan.hours
        return plan is not None and units.hours(self.end_seconds.p50) > plan.p90

    @property
    def line(self) -> str:
        """``step 40 of 400: 3 min ($0.12) spent, at the end 28 min (26 to 31 min), …``."""
        return (
            f"step {self.done:,} of {self.steps:,}: "
            f"{costs(self.spent_seconds, self.usd_per_hour)} spent, "
            f"{_range(self.end_seconds, self.usd_per_hour)} at the end"
            f"{self._against()}{self._left_out()}"
        )

    @property
    def warning(self) -> str:
        plan = self.plan.hours
        most = "" if plan is None else costs(plan.p90 * SECONDS, self.usd_per_hour)
        return (
            f"the plan's 90th percentile, {most}, will be passed: "
            f"{_range(self.end_seconds, self.usd_per_hour)} at the end by the steps so far"
        )

    def _against(self) -> str:
        plan = self.plan.hours
        if plan is None:
            return ""
        return f"; planned {_range(plan.scale(SECONDS), self.usd_per_hour)}"

    def _left_out(self) -> str:
        if not self.unseen:
            return ""
        return f"; {' and '.join(self.unseen)} still to come, of unknown length, not counted"


def planned_run(plan: PlannedRun | Mapping[str, Any] | Path | str | None) -> PlannedRun:
    """Of a ``plan.json``'s path or its values. Raises QuestionError for what is none."""
    if plan is None or isinstance(plan, PlannedRun):
        return plan or PlannedRun()
    if isinstance(plan, (str, Path)):
        plan = _read(Path(plan))
    try:
        return _planned(plan["option"], plan.get("savings"))
    except (KeyError, TypeError, ValueError) as error:
        raise QuestionError(
            f"is no plan: {type(error).__name__} {error}",
            where="plan",
            mend="planner recipe writes one",
        ) from None


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise QuestionError(f"cannot be read: {error.strerror}", where=str(path)) from None
    except ValueError as error:
        raise QuestionError(f"not JSON: {error}", where=str(path)) from None


def _planned(option: Mapping[str, Any], savings: int | None) -> PlannedRun:
    run, cost = option["run"], option.get("cost") or {}
    hours = Estimate(**run["wall_hours"])
    price, parts = cost.get("usd_per_gpu_hour"), run.get("breakdown_hours") or {}
    counts = {"evaluation": run.get("evaluations"), "saving": savings}
    pauses = {name: round(counts[name] or 0) for name in PAUSES.values()}
    before = ((run.get("of_which_hours") or {}).get("start_up") or {}).items()
    return PlannedRun(
        hours=hours,
        usd_per_hour=None if price is None else price * option["gpus"],
        pauses={name: count for name, count in pauses.items() if count},
        pause_seconds={
            name: _like(hours, SECONDS * parts[phase] / pauses[name])
            for phase, name in PAUSES.items()
            if pauses[name] and parts.get(phase) is not None
        },
        before_seconds=SECONDS * sum(value for name, value in before if name in BEFORE),
    )


def _like(whole: Estimate, middle: float) -> Estimate:
    """A part of a run with the range of the whole."""
    return whole.scale(middle / whole.p50) if whole.p50 else Estimate.exact(middle)


def costs(seconds: float, usd_per_hour: float | None) -> str:
    """``12 min ($0.40)``; without a price the time alone."""
    usd = usd_of(seconds, usd_per_hour)
    time = units.format_seconds(seconds)
    return time if usd is None else f"{time} ({units.format_usd(usd)})"


def _range(seconds: Estimate, usd_per_hour: float | None) -> str:
    """``28.0 min ($0.93; 26.1 min to 31.0 min, $0.87 to $1.03)``."""
    middle, ends = seconds.p50, (seconds.p10, seconds.p90)
    low, high = (units.format_seconds(end, like=middle) for end in ends)
    usd = [usd_of(value, usd_per_hour) for value in (middle, *ends)]
    dollars = [units.format_usd(value) for value in usd if value is not None]
    said = [dollars[0]] if dollars else []
    if low != high:
        said.append(
            ", ".join([f"{low} to {high}", *([" to ".join(dollars[1:])] if dollars else [])])
        )
    return units.format_seconds(middle) + (f" ({'; '.join(said)})" if said else "")


def usd_of(seconds: float, usd_per_hour: float | None) -> float | None:
    """Dollars of so many seconds on all devices; None where no price is known."""
    return None if usd_per_hour is None else units.hours(seconds) * usd_per_hour
