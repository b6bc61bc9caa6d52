"""The one place that says how sure the planner is: spreads of log(measured / predicted) by
quantity, basis and family.

Rows of ``profiles/priors/uncertainty.csv``, made by ``benchmarks/fit_uncertainty.py`` from measured
runs where there are enough, stated priors elsewhere. A correction from the user's own runs comes in
here and nowhere else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from planner import tables
from planner.errors import ProfileError
from planner.figures import Estimate
from planner.uncertainty.corrections import ANY, correction

if TYPE_CHECKING:
    from planner.devices.specification import DeviceSpec


@dataclass(frozen=True)
class Spread:
    sigma_log: float
    bias_log: float
    runs: int
    source: str

    def at_least(self, sigma_log: float) -> Spread:
        """No surer than another account of the same error allows (the measured curves' own); a
        spread that runs taught holds that error already."""
        return (
            self if self.runs or sigma_log <= self.sigma_log else replace(self, sigma_log=sigma_log)
        )

    def widened(self, doubt_log: float) -> Spread:
        """With a doubt that the runs behind this spread did not have."""
        return replace(self, sigma_log=math.hypot(self.sigma_log, doubt_log)) if doubt_log else self

    def around(self, value: float) -> Estimate:
        return Estimate.with_spread(value, self.sigma_log, self.bias_log)


def spread(quantity: str, basis: str, family: str, device: str | None = None) -> Spread:
    """How far a figure may be off: of the basis and the family, moved and narrowed by what the
    user's own runs on this device (its key) taught, where they did. Raises ProfileError."""
    stated = stated_spread(quantity, basis, family)
    learnt = correction(quantity, basis, device, family) if device else None
    if learnt is None:
        return stated
    return Spread(learnt.sigma_log, stated.bias_log + learnt.bias_log, learnt.runs, learnt.source)


def time_spread(spec: DeviceSpec, family: str, doubt_log: float | None = None) -> Spread:
    """How far seconds on a device may be off, with what load left in its calibration: by default
    over all operations. Raises ProfileError."""
    if doubt_log is None:
        doubt_log = 0.0 if spec.load is None else spec.load.doubt_log
    return spread("time", spec.pricing, family, spec.key).widened(doubt_log)


def moved(figure: Estimate, quantity: str, basis: str, device: str) -> Estimate:
    """A figure that carries its own uncertainty, by what the user's own runs on this device taught;
    as it is without."""
    learnt = correction(quantity, basis, device, ANY)
    return (
        figure
        if learnt is None
        else Estimate.with_spread(figure.p50, learnt.sigma_log, learnt.bias_log)
    )


@cache
def stated_spread(quantity: str, basis: str, family: str) -> Spread:
    """``quantity`` time | allocated | reserved; the family's own row, else the basis's for any
    family. Memory does not depend on how operations are timed: without rows of its own a basis
    takes the datasheet's. Raises ProfileError."""
    row = _row(quantity, basis, family)
    if row is None and quantity != "time":
        row = _row(quantity, "datasheet", family)
    if row is None:
        raise ProfileError(
            f"no uncertainty for {quantity} on the {basis} basis",
            where="profiles/priors/uncertainty.csv",
        )
    return Spread(float(row["sigma_log"]), float(row["bias_log"]), int(row["n"]), row["source"])


def _row(quantity: str, basis: str, family: str) -> dict[str, str] | None:
    rows = {
        row["family"]: row
        for row in tables.rows("priors", "uncertainty.csv")
        if row["quantity"] == quantity and row["basis"] == basis
    }
    return rows.get(family) or rows.get("any")


@cache
def overhead(key: str) -> Estimate:
    """A row of ``profiles/priors/run.csv``. Raises ProfileError."""
    for row in tables.rows("priors", "run.csv"):
        if row["key"] == key:
            return Estimate(float(row["p10"]), float(row["p50"]), float(row["p90"]))
    raise ProfileError(f"no row {key!r}", where="profiles/priors/run.csv")
