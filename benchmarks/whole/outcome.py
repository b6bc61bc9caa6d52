"""A report, its question and the planner's answer side by side: errors and what they cover."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from benchmarks.whole.answers import Answer
from benchmarks.whole.asked import Asked
from benchmarks.whole.report import Report
from planner.figures import Estimate

GIB = 2**30
#: A run is met where ours is within this much of the report.
WITHIN = 0.30


@dataclass(frozen=True)
class Comparison:
    """Ours beside theirs, in one unit. ``long_run``: how much of our p50 is there because long runs
    take longer than clean steps, which is fitted on such reports."""

    ours: Estimate
    theirs: float
    long_run: float = 0.0

    @property
    def error(self) -> float:
        """Ours over theirs, less one."""
        return self.ours.p50 / self.theirs - 1

    @property
    def log_ratio(self) -> float:
        return math.log(self.ours.p50 / self.theirs)

    @property
    def covered(self) -> bool:
        return self.ours.p10 <= self.theirs <= self.ours.p90

    @property
    def met(self) -> bool:
        return abs(self.error) <= WITHIN


@dataclass(frozen=True)
class Outcome:
    """One row of the judge's table."""

    report: Report
    asked: Asked
    answer: Answer | None

    @property
    def refused(self) -> str:
        """Why nothing is compared; "" where hours are."""
        if self.asked.missing:
            return "; ".join(self.asked.missing)
        if self.answer is None or self.answer.refused:
            return f"the planner refuses: {self.answer.refused if self.answer else 'not asked'}"
        return "" if self.report.hours else "no hours reported"

    @property
    def hours(self) -> Comparison | None:
        if self.refused or self.answer is None:
            return None
        ours = self.answer.without_start_up if self.by_trainers_clock else self.answer.hours
        assert ours is not None and self.report.hours is not None
        return Comparison(ours, self.report.hours, self.answer.long_run)

    @property
    def by_trainers_clock(self) -> bool:
        """Whether the report's hours begin with the first batch, as ``train_runtime`` does."""
        return bool(self.report.says(r"train_runtime")) or self.steps_fill_the_hours

    @property
    def steps_fill_the_hours(self) -> bool:
        """Whether the reported steps at their reported seconds are the reported hours."""
        steps, seconds = self.report.number("steps"), self.report.number("seconds_per_step")
        if not (steps and seconds and self.report.hours):
            return False
        return math.isclose(steps * seconds / 3600, self.report.hours, rel_tol=0.03)

    @property
    def usd(self) -> Comparison | None:
        """Dollars at the price that the report states."""
        usd = self.report.number("usd")
        if self.refused or self.answer is None or self.answer.usd is None:
            return None
        if not usd or not self.report.number("usd_per_gpu_hour"):
            return None
        return Comparison(self.answer.usd, usd)

    @property
    def memory(self) -> Comparison | None:
        """Peak GiB of a device: what the allocator reserved where the report says so, else what the
        driver shows."""
        peak = self.report.number("peak_gib")
        if self.refused or self.answer is None or peak is None or not self.asked.judges_memory:
            return None
        reserved = re.search(r"reserved", self.report["notes"])
        ours = self.answer.reserved_bytes if reserved else self.answer.device_bytes
        return None if ours is None else Comparison(ours.scale(1 / GIB), peak)

    @property
    def reported_step_seconds(self) -> float | None:
        """Seconds of an optimizer step as reported, or the hours over the steps."""
        if seconds := self.report.number("seconds_per_step"):
            return seconds
        steps = self.report.number("steps")
        return self.report.hours * 3600 / steps if steps and self.report.hours else None
