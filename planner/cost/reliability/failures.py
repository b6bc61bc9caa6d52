"""How often trainings on many devices are interrupted: rows of ``profiles/priors/failures.csv``."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from planner import tables
from planner.errors import ProfileError
from planner.figures import Estimate
from planner.units import HOURS_PER_DAY

TABLE = ("priors", "failures.csv")
#: A tenth and nine tenths of the systems.
TENTHS = 10


@dataclass(frozen=True)
class System:
    """A cluster whose operators counted its failures. ``effective_share``: of the time spent on
    training, as published, a bound where ``bound`` says ``at least``; None where nothing is."""

    name: str
    gpu: str
    devices: int
    days: float
    failures: float
    effective_share: float | None
    bound: str
    work_days: float | None
    checkpoint_minutes: float | None
    restart_minutes: float | None
    spare_machines: int | None
    checkpoint_bytes: float | None
    note: str
    source: str

    @property
    def failures_per_device_hour(self) -> float:
        return self.failures / (self.devices * self.days * HOURS_PER_DAY)


@cache
def systems() -> tuple[System, ...]:
    """All rows. Raises ProfileError."""
    return tuple(
        System(
            row["system"],
            row["gpu"],
            int(row["devices"]),
            float(row["days"]),
            float(row["failures"]),
            _number(row["effective_share"]),
            row["bound"],
            _number(row["work_days"]),
            _number(row["checkpoint_minutes"]),
            _number(row["restart_minutes"]),
            int(row["spare_machines"]) if row["spare_machines"] else None,
            _number(row["checkpoint_bytes"]),
            row["note"],
            row["source"],
        )
        for row in tables.rows(*TABLE)
    )


def failures_per_device_hour(known: Sequence[System] | None = None) -> Estimate:
    """Of one device with its share of machine and network: the median of the systems, each alike,
    between the tenth and the ninetieth percentile of them. Raises ProfileError without two."""
    rates = [one.failures_per_device_hour for one in (systems() if known is None else known)]
    if len(rates) < 2:
        raise ProfileError("fewer than two systems", where="profiles/priors/failures.csv")
    tenths = statistics.quantiles(rates, n=TENTHS, method="inclusive")
    return Estimate(tenths[0], statistics.median(rates), tenths[-1])


def _number(text: str) -> float | None:
    return float(text) if text else None
