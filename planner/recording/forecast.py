"""What a run that is under way will take, from its first steps on: spent so far, hours and dollars
at its end with a range, against the plan.

A plain loop::

    forecast = planner.Forecast(steps=len(loader), plan="plan.json", max_usd=20)
    for batch in loader:
        ...
        optimizer.step()
        if forecast.step():     # the next step would pass 20 dollars
            break
        with forecast.pause("evaluation"):
            evaluate()

Host clocks only: nothing waits for the device, so a step here is as long as the loop took for it,
the wait for its data included.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from planner.errors import FieldName, QuestionError
from planner.figures import Estimate
from planner.ledger.stopwatch import WARM_UP_STEPS, StepTimes
from planner.recording.outlook import Outlook, PlannedRun, costs, planned_run, usd_of
from planner.recording.still_to_come import pauses_to_come, steps_to_come

_log = logging.getLogger("planner")
#: A line is said when so many parts of the run are over, and at the first forecast.
LINES = 10
#: Of which a spread is known.
FEWEST_STEPS = 2


class Forecast:
    """``steps``: optimizer steps of the whole run; ``done``: of those, made before (a run that goes
    on). ``plan``: a ``plan.json`` that ``planner recipe`` wrote, its path, or None.
    ``usd_per_hour``: of all devices together, by default the plan's. ``max_usd``: ``step`` says
    stop before they are passed. ``begun``: the clock when what is paid for began, by default now.
    ``to_come``: how many evaluations and savings the run makes, by name. ``stops_every``: steps
    between those at which it may say stop. ``say``: gets every line.
    Raises QuestionError for a ``max_usd`` without a price."""

    def __init__(
        self,
        steps: int,
        plan: PlannedRun | Mapping[str, Any] | Path | str | None = None,
        *,
        done: int = 0,
        usd_per_hour: float | None = None,
        max_usd: float | None = None,
        to_come: Mapping[str, int] | None = None,
        begun: float | None = None,
        stops_every: int = 1,
        say: Callable[[str], object] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.plan: PlannedRun = planned_run(plan)
        self.usd_per_hour = self.plan.usd_per_hour if usd_per_hour is None else usd_per_hour
        self.max_usd = checked(max_usd, self.usd_per_hour)
        self.steps, self.done = max(steps, done), done
        self.stops_every = stops_every
        self.to_come = dict(self.plan.pauses if to_come is None else to_come)
        self.stopped: str | None = None  # the line that it was stopped with
        self.warned: str | None = None  # the line that the plan's p90 was warned of with
        self._say = say or _log.warning
        self._clock = clock
        self._times = StepTimes()
        self._paused: dict[str, list[float]] = {}
        self._begun = self._mark = clock()
        self._begun = self._begun if begun is None else begun
        self._said = 0  # tenths of the run that a line was said of

    # ------------------------------------------------------------ marks

    def step(self) -> bool:
        """An optimizer step is over. True from the step on after which the run should stop."""
        now = self._clock()
        self._times.add(max(0.0, now - self._mark))
        self._mark = now
        self.done += 1
        if self.stopped is None:
            self._look()
        return self.stopped is not None

    @contextmanager
    def pause(self, name: str) -> Generator[None, None, None]:
        """What is no step, such as an evaluation: it is paid for, and its like are still to
        come."""
        self.skip()
        try:
            yield
        finally:
            self.paused(name)

    def paused(self, name: str) -> None:
        """Since the last mark it was no step but ``name``."""
        now = self._clock()
        self._paused.setdefault(name, []).append(max(0.0, now - self._mark))
        self._mark = now

    def skip(self) -> None:
        """What happened since the last mark belongs to no step, and does not come again."""
        self._mark = self._clock()

    # ------------------------------------------------------------ figures

    @property
    def spent_seconds(self) -> float:
        """Since it began, with what the plan has before the program starts."""
        return self.plan.before_seconds + max(0.0, self._clock() - self._begun)

    def outlook(self) -> Outlook | None:
        """None until two steps are over that are no warming up: one alone has no spread."""
        apart = self._apart()
        kept = self._times.steady(apart)
        if len(kept) < FEWEST_STEPS:
            return None
        spent, left = self.spent_seconds, max(0, self.steps - self.done)
        ahead = steps_to_come(kept, self._times.mean(apart), self._times.count - apart, left)
        pauses, unseen = pauses_to_come(self.to_come, self._paused, self.plan)
        seconds = Estimate.exact(spent) + ahead + pauses
        return Outlook(
            done=self.done,
            steps=self.steps,
            spent_seconds=spent,
            end_seconds=Estimate(max(spent, seconds.p10), seconds.p50, seconds.p90),
            usd_per_hour=self.usd_per_hour,
            plan=self.plan,
            unseen=unseen,
        )

    def _apart(self) -> int:
        """Steps of warming up: those that the stopwatch finds, and before it can tell the first
        ones."""
        return self._times.warm_up_steps() or min(WARM_UP_STEPS, self._times.count)

    # ------------------------------------------------------------ what is said

    def _look(self) -> None:
        if self.done >= self.steps:
            return
        if self.done % self.stops_every == 0 and self._would_pass():
            self.stopped = (
                f"stopped after step {self.done:,} of {self.steps:,}: "
                f"{costs(self.spent_seconds, self.usd_per_hour)} are spent, and the next step "
                f"would pass {FieldName('max_usd')} {self.max_usd:g}"
            )
            self._say(f"planner: {self.stopped}")
            return
        found = self.outlook()
        if found is None:
            return
        part = 1 + LINES * self.done // self.steps
        if part > self._said:
            self._said = part
            self._say(f"planner: {found.line}")
        self._warn_once(found)

    def _warn_once(self, found: Outlook) -> None:
        if self.warned is None and found.passes_plan and self._times.count >= 2 * WARM_UP_STEPS:
            self.warned = found.warning
            self._say(f"planner: {self.warned}")

    def _would_pass(self) -> bool:
        """Would the steps until it may stop again, and the saving after them, cost more than was
        allowed?"""
        if self.max_usd is None:
            return False
        apart = self._apart()
        count = self._times.count
        step = self._times.mean(apart) if count > apart else self._times.total_seconds / count
        saving = max(self._paused.get("saving", [0.0]))
        ahead = self.stops_every * step + saving
        after = usd_of(self.spent_seconds + ahead, self.usd_per_hour)
        return after is not None and after > self.max_usd


def checked(max_usd: float | None, usd_per_hour: float | None) -> float | None:
    """Raises QuestionError for a limit in dollars that nothing can be held against."""
    if max_usd is None:
        return None
    if not max_usd > 0:
        raise QuestionError(f"{max_usd:g} is no limit", where=FieldName("max_usd"))
    if usd_per_hour is None:
        raise QuestionError(
            "no price an hour is known, so no limit can be kept",
            where=FieldName("max_usd"),
            mend="Plan with a price, or give usd_per_hour",
        )
    return max_usd
