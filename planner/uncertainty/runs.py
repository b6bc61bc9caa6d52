"""How far whole runs are from their plans: between a clean step and a paid hour is a distribution.

Rows of ``profiles/priors/run_spread.csv``, made by ``benchmarks/fit_runs.py`` from runs as people
report them: on a rented GPU priced by its datasheet they hold the error of the step as well; where
the step was measured, a row is what surrounds it alone. Peaks of memory have rows of the trainers
under which runs report them: they widen what is shown, and never decide whether it fits.

What long runs take over their clean steps (logging, stragglers, clocks that fall with heat, loaders
that wait) moves the middle of the hours of steps too, as far as authors left out agree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from planner import tables
from planner.errors import ProfileError
from planner.figures import Estimate
from planner.tasks import tasks
from planner.uncertainty.corrections import corrections

ANY = "any"
#: Of a row: its quantiles hold the step's error, or are to be joined with it.
WHOLE, AROUND = "run", "around the step"
#: Of a task that the table does not hold.
OTHER = "other"


def runs_of(task: str) -> str:
    """What a task's runs are counted among."""
    row = tasks().get(task)
    return row.runs if row else OTHER


@dataclass(frozen=True)
class RunSpread:
    """ln(reported / planned hours, or peak): ``lower`` below the middle at p10 and ``upper`` above
    it at p90, both at least 0. ``holds``: WHOLE or AROUND. ``runs`` reports of ``sources``
    authors. ``middle``: how far above clean steps the middle of long runs is, at least 0."""

    lower: float
    upper: float
    holds: str
    runs: int
    sources: int
    middle: float = 0.0

    @property
    def longer(self) -> float:
        """Hours of steps in a long run over as many clean steps, at least 1."""
        return math.exp(self.middle)

    @property
    def words(self) -> str:
        return (
            f"the range of the hours is that of {self.runs} whole runs that {self.sources} authors "
            "report, beside our plans of them"
        )

    @property
    def middle_words(self) -> str:
        return (
            f"hours of steps are {self.longer - 1:.0%} longer than clean steps: so much long runs "
            f"take beyond them by {self.runs} runs that {self.sources} authors report"
        )

    def around(self, hours: Estimate, step: Estimate) -> Estimate:
        """Hours of steps with the range of a run; the middle stays (``longer`` moves it). ``step``:
        one step with its own error, which is not counted twice; what the hours hold beyond it (the
        size of the data, the loading of samples) is joined."""
        if hours.p50 <= 0:
            return hours
        lower, upper = (
            math.hypot(row, whole if self.holds == AROUND else _beyond(whole, own))
            for row, whole, own in (
                (self.lower, _side(hours.p50, hours.p10), _side(step.p50, step.p10)),
                (self.upper, _side(hours.p90, hours.p50), _side(step.p90, step.p50)),
            )
        )
        return Estimate(
            min(hours.p50, hours.p50 * math.exp(-lower)),
            hours.p50,
            max(hours.p50, hours.p50 * math.exp(upper)),
        )

    def around_peak(self, peak: Estimate, most: float) -> Estimate:
        """A peak of memory with the range of a run; the middle stays, and so does what is farther
        off already. No peak is more than ``most``, the device's memory, unless it is already."""
        return Estimate(
            min(peak.p10, peak.p50 * math.exp(-self.lower)),
            peak.p50,
            max(peak.p90, min(most, peak.p50 * math.exp(self.upper))),
        )

    @property
    def peak_words(self) -> str:
        return (
            f"the range of the memory is that of {self.runs} whole runs under this trainer by "
            f"{self.sources} author{'s' * (self.sources != 1)}; whether it fits is judged by the "
            "narrower range of measured steps"
        )


def basis_of_runs(basis: str, device: str) -> str:
    """The basis whose rows a run takes: where the user's own runs on this device (its key) taught
    how long steps take, those of a measured step."""
    learnt = any(c.quantity == "time" and c.device == device for c in corrections())
    return "calibrated" if learnt and basis == "datasheet" else basis


def kinds(task: str, strategy: str, trainer: str, devices: int) -> dict[str, str]:
    """What a run is counted among, by dimension."""
    return {
        "modality": runs_of(task),
        "strategy": strategy,
        "trainer": trainer,
        "devices": "several" if devices > 1 else "one",
    }


def run_spread(basis: str, kinds: Mapping[str, str]) -> RunSpread:
    """Of a run whose step stands on a basis: the spread of all runs, moved by the mean of what its
    kinds are off from it. Raises ProfileError."""
    rows = _rows(basis)
    if (ANY, ANY) not in rows:
        raise ProfileError(
            f"no spread of runs on the {basis} basis", where="profiles/priors/run_spread.csv"
        )
    every = rows[ANY, ANY]
    own = [rows.get((dimension, kind), every) for dimension, kind in kinds.items()] or [every]
    return RunSpread(
        lower=_mean([row.lower for row in own]),
        upper=_mean([row.upper for row in own]),
        holds=every.holds,
        runs=every.runs,
        sources=every.sources,
        middle=every.middle,
    )


@cache
def peak_spread(trainer: str) -> RunSpread | None:
    """Of peaks of memory under a trainer; None where nobody reports any."""
    for row in tables.rows("priors", "run_spread.csv"):
        if (row["quantity"], row["dimension"], row["kind"]) == ("memory", "trainer", trainer):
            return _spread(row)
    return None


def _spread(row: Mapping[str, str]) -> RunSpread:
    return RunSpread(
        float(row["lower"]),
        float(row["upper"]),
        row["holds"],
        int(row["runs"]),
        int(row["sources"]),
        float(row["middle"]),
    )


@cache
def _rows(basis: str) -> dict[tuple[str, str], RunSpread]:
    return {
        (row["dimension"], row["kind"]): _spread(row)
        for row in tables.rows("priors", "run_spread.csv")
        if row["quantity"] == "hours" and row["basis"] == basis
    }


def _mean(sides: list[float]) -> float:
    """Geometric, as sides are factors of one another; 0 where one is."""
    if min(sides) <= 0:
        return 0.0
    return math.exp(math.fsum(map(math.log, sides)) / len(sides))


def _side(high: float, low: float) -> float:
    """0 low: nothing is known of that side."""
    return math.log(high / low) if low > 0 else math.inf


def _beyond(whole: float, own: float) -> float:
    return math.sqrt(max(0.0, whole**2 - own**2)) if math.isfinite(whole) else whole
