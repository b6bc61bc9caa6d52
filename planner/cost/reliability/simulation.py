"""A run on machines that fail, event by event: failures come, machines are replaced and repaired,
work since the last checkpoint is done again.

Failures of a machine are a Poisson process while it works, as in Daly's model (``cost/spot.py``);
beyond it the time until a failure is noticed, the time until another machine stands in, a pool of
spares and their repair are told apart. Between two failures nothing happens but work and
checkpoints, so that a run of months is some hundreds of events. SimPy keeps the clock and the pool
(Matloff 2008; simpy.readthedocs.io).
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from planner.errors import QuestionError
from planner.figures import Z90, Estimate
from planner.units import HOURS_PER_DAY

#: What interruptions and their prevention take of a run, in the order in which they come.
PARTS = ("checkpoints", "lost_work", "detection", "replacement", "restarts")
#: Failures that all repetitions of a run simulate together, at most, and repetitions at least.
MOST_EVENTS, FEWEST, MOST = 4_000, 15, 400
#: A run that takes this many times its work never ends.
ENDLESS = 50.0


@dataclass(frozen=True)
class Machines:
    """``count`` machines work at once; one that fails goes to repair if it was its hardware
    (``hardware_share``), and another takes its place: of ``spares``, or, with None, of a provider
    that always has one. Ranges are of what nobody knows before: how often these machines fail, how
    soon their operator notices and replaces; each repetition of a run has one of each."""

    count: int
    failures_per_machine_hour: Estimate
    detect_hours: Estimate
    replace_hours: Estimate
    hardware_share: float = 1.0
    spares: int | None = None
    repair_hours: float = 0.0


@dataclass(frozen=True)
class Work:
    """``hours`` of undisturbed work with a checkpoint of ``save_hours`` after every
    ``interval_hours`` of it; ``restart_hours`` from another machine to the first step."""

    hours: float
    interval_hours: float
    save_hours: float
    restart_hours: float


@dataclass(frozen=True)
class Goodput:
    """``extra_hours`` beyond undisturbed work; ``parts_hours`` sum to their median.
    ``failures``: expected."""

    work_hours: float
    extra_hours: Estimate
    parts_hours: Mapping[str, float]
    failures: float

    @property
    def share(self) -> float:
        """Of the run's time, what undisturbed work takes."""
        return self.work_hours / (self.work_hours + self.extra_hours.p50)


@lru_cache(maxsize=512)
def simulated(work: Work, machines: Machines, seed: int = 0) -> Goodput:
    """Repetitions of a run, each with a rate of failures from its range. The same arguments give
    the same answer. Raises QuestionError for a run that does not end."""
    rate = machines.failures_per_machine_hour
    expected = rate.p50 * machines.count * work.hours
    repetitions = int(min(MOST, max(FEWEST, MOST_EVENTS / max(expected, 1e-9))))
    runs = [
        _Run(work, one, random.Random(f"{seed}-{n}"))
        for n, one in enumerate(_each(machines, repetitions, random.Random(seed)))
    ]
    for run in runs:
        run.play()
    extra = sorted(sum(run.parts.values()) for run in runs)
    middle = statistics.median(extra)
    tenths = statistics.quantiles(extra, n=10, method="inclusive")
    return Goodput(
        work_hours=work.hours,
        extra_hours=Estimate(min(tenths[0], middle), middle, max(tenths[-1], middle)),
        parts_hours=_scaled(runs, middle),
        failures=statistics.fmean(run.failures for run in runs),
    )


def _each(machines: Machines, repetitions: int, chance: random.Random) -> Iterator[Machines]:
    """Machines as they may be, one for every repetition: each range cut into as many likely parts,
    a part taken once, in an order of its own (a Latin hypercube; McKay et al. 1979)."""
    scores = [statistics.NormalDist().inv_cdf((n + 0.5) / repetitions) for n in range(repetitions)]
    columns = [chance.sample(scores, repetitions) for _ in range(3)]
    for rate, detect, replaced in zip(*columns, strict=True):
        yield replace(
            machines,
            failures_per_machine_hour=_at(machines.failures_per_machine_hour, rate),
            detect_hours=_at(machines.detect_hours, detect),
            replace_hours=_at(machines.replace_hours, replaced),
        )


def _at(figure: Estimate, score: float) -> Estimate:
    """The value so many standard deviations from the middle of a lognormal of two halves through
    p10, p50 and p90."""
    edge = figure.p90 if score >= 0 else figure.p10
    if edge <= 0 or figure.p50 <= 0:
        return Estimate.exact(figure.p50)
    return Estimate.exact(figure.p50 * math.exp(abs(score) / Z90 * math.log(edge / figure.p50)))


def _scaled(runs: list[_Run], middle: float) -> dict[str, float]:
    """Means of the parts, made to sum to the median of their sum."""
    means = {name: statistics.fmean(run.parts[name] for run in runs) for name in PARTS}
    whole = math.fsum(means.values())
    return {name: mean * (middle / whole if whole else 0.0) for name, mean in means.items()}


@dataclass
class _Run:
    work: Work
    machines: Machines
    random: random.Random
    parts: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    failures: int = 0

    def play(self) -> None:
        import simpy

        clock = simpy.Environment()
        spares = self.machines.spares
        room = None if spares is None else self.machines.count + spares
        pool = None if room is None else simpy.Container(clock, capacity=room, init=spares or 0)
        clock.run(until=clock.process(self._training(clock, pool)))

    def _training(self, clock: Any, pool: Any) -> Generator[Any, Any, Any]:
        work, rate = self.work, self.machines.failures_per_machine_hour.p50
        together = rate * self.machines.count
        done, lead = 0.0, 0.0
        while True:
            left = work.hours - done
            saves = max(1, math.ceil(left / work.interval_hours - 1e-12))
            needed = lead + left + saves * work.save_hours
            until = self.random.expovariate(together) if together > 0 else math.inf
            if until >= needed:
                self._add(restarts=lead, checkpoints=saves * work.save_hours)
                yield clock.timeout(needed)
                return
            self.failures += 1
            done += self._failed(until, lead)
            yield clock.timeout(until)
            if clock.now > ENDLESS * max(work.hours, work.interval_hours):
                raise QuestionError(
                    f"at {together * HOURS_PER_DAY:.3g} failures a day hardly any interval of "
                    f"{work.interval_hours:.3g} h is finished",
                    where="the run",
                    mend="Save more often, or ask for fewer devices",
                )
            yield from self._replaced(clock, pool)
            lead = work.restart_hours

    def _failed(self, until: float, lead: float) -> float:
        """What was done and saved by a failure ``until`` hours after the machines were ready."""
        if until < lead:
            self._add(restarts=until)
            return 0.0
        cycle = self.work.interval_hours + self.work.save_hours
        whole, rest = divmod(until - lead, cycle)
        self._add(restarts=lead, checkpoints=whole * self.work.save_hours, lost_work=rest)
        return whole * self.work.interval_hours

    def _replaced(self, clock: Any, pool: Any) -> Generator[Any, Any, Any]:
        detected = self.machines.detect_hours.p50
        self._add(detection=detected)
        yield clock.timeout(detected)
        if self.random.random() >= self.machines.hardware_share:
            return
        began = clock.now
        if pool is not None:
            clock.process(self._repair(clock, pool))
            yield pool.get(1)
        yield clock.timeout(self.machines.replace_hours.p50)
        self._add(replacement=clock.now - began)

    def _repair(self, clock: Any, pool: Any) -> Generator[Any, Any, Any]:
        yield clock.timeout(self.machines.repair_hours)
        yield pool.put(1)

    def _add(self, **hours: float) -> None:
        for name, value in hours.items():
            self.parts[name] += value
