"""From residuals to corrections: how far the planner is off on a device, and how sure it is after
that.

The middle is an empirical-Bayes mean, shrunk towards none: by how many different models speak for
it, not by how many runs, since runs of one model err together. The spread is split-conformal where
there are enough models (Lei et al. 2018, arXiv 1604.04173): each model is predicted from the others
(leave one group out), and the 80 % quantile of what remains, with the finite-sample correction, is
what the interval must hold. With fewer models the prior spread stays part of it.
"""

from __future__ import annotations

import datetime
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from planner import tables
from planner.figures import Z90
from planner.today import system_date
from planner.uncertainty.corrections import ANY, Correction

COVERED = 0.80


@dataclass(frozen=True)
class Residual:
    """One run's error: ``log(measured / predicted)`` of the uncorrected middle. ``group``: what
    errs together (model and strategy); ``sigma_log``: the spread that the planner stated."""

    quantity: str
    basis: str
    device: str
    family: str
    group: str
    log_ratio: float
    sigma_log: float


@dataclass(frozen=True)
class Learnt:
    bias_log: float
    sigma_log: float
    models: int


@dataclass(frozen=True)
class Priors:
    """Rows of ``profiles/priors/corrections.csv``: shares of a spread, spreads of a logarithm, and
    numbers of models."""

    device_share: float
    family_share: float
    least_spread: float
    enough_models: float
    prior_models: float


@cache
def priors() -> Priors:
    """Raises ProfileError."""
    found = tables.rows("priors", "corrections.csv")
    return Priors(**{row["key"]: float(row["value"]) for row in found})


def learn(residuals: Iterable[Residual], on_date: datetime.date | None = None) -> list[Correction]:
    """A correction for each device, basis and quantity with runs, and for each kind of work on it
    that has at least two models."""
    made = (on_date or system_date()).isoformat()
    cells: dict[tuple, list[Residual]] = defaultdict(list)
    for residual in residuals:
        if math.isfinite(residual.log_ratio):
            cells[residual.quantity, residual.basis, residual.device].append(residual)
    found = []
    for (quantity, basis, device), mine in sorted(cells.items()):
        whole = learnt(mine)
        found.append(_correction((quantity, basis, device), ANY, whole, runs=len(mine), made=made))
        by_family: dict[str, list[Residual]] = defaultdict(list)
        for residual in mine:
            by_family[residual.family].append(residual)
        for family, own in sorted(by_family.items()):
            if len({r.group for r in own}) >= 2 and len(by_family) > 1:
                part = learnt(own, centre=whole.bias_log, share=priors().family_share)
                found.append(
                    _correction((quantity, basis, device), family, part, runs=len(own), made=made)
                )
    return found


def _correction(
    cell: tuple[str, str, str], family: str, learnt: Learnt, *, runs: int, made: str
) -> Correction:
    quantity, basis, device = cell
    return Correction(
        quantity=quantity,
        basis=basis,
        device=device,
        family=family,
        bias_log=learnt.bias_log,
        sigma_log=learnt.sigma_log,
        runs=runs,
        models=learnt.models,
        made=made,
    )


def learnt(
    residuals: Sequence[Residual], centre: float = 0.0, share: float | None = None
) -> Learnt:
    """Bias and spread of residuals, shrunk towards ``centre`` (a device's kinds of work towards the
    device). ``share`` of the basis's spread is the bias's own, by default a device's."""
    known = priors()
    share = known.device_share if share is None else share
    groups = _by_group(residuals)
    prior = float(np.median([r.sigma_log for r in residuals]))
    bias, posterior = _shrunk([float(np.mean(g)) for g in groups.values()], centre, share * prior)
    left = _left_out(groups, centre, share * prior)
    count = len(groups)
    own = _quantile(np.abs(left)) / Z90
    if count < known.enough_models:
        inside = float(np.mean(np.square(left)))
        own = math.sqrt(
            (count * inside + known.prior_models * prior**2) / (count + known.prior_models)
            + posterior
        )
    return Learnt(bias, max(own, known.least_spread), count)


def _by_group(residuals: Iterable[Residual]) -> dict[str, list[float]]:
    groups: dict[str, list[float]] = defaultdict(list)
    for residual in residuals:
        groups[residual.group].append(residual.log_ratio)
    return groups


def _shrunk(means: Sequence[float], centre: float, spread: float) -> tuple[float, float]:
    """(posterior mean, posterior variance) of a normal mean with prior N(centre, spread²); the
    groups' scatter is pooled with the prior's while it is poorly known."""
    count = len(means)
    if not count or spread <= 0:
        return centre, spread**2
    around = float(np.var(means)) if count > 1 else 0.0
    scatter = ((count - 1) * around + 2 * spread**2) / (count + 1) + priors().least_spread ** 2
    precision = count / scatter + 1 / spread**2
    return (sum(means) / scatter + centre / spread**2) / precision, 1 / precision


def _left_out(groups: dict[str, list[float]], centre: float, spread: float) -> np.ndarray:
    """What remains of each run when its group is predicted from the others."""
    means = {name: float(np.mean(values)) for name, values in groups.items()}
    remains = []
    for name, values in groups.items():
        bias, _ = _shrunk([mean for other, mean in means.items() if other != name], centre, spread)
        remains += [value - bias for value in values]
    return np.array(remains)


def _quantile(sizes: np.ndarray) -> float:
    """The conformal quantile: the ⌈(n+1)·0.8⌉-th smallest."""
    rank = min(len(sizes), math.ceil((len(sizes) + 1) * COVERED))
    return float(np.sort(sizes)[rank - 1])


def predicted_apart(residuals: Sequence[Residual]) -> list[tuple[Residual, float, float]]:
    """For reporting: (run, bias, spread) with each group's correction learnt from the other groups
    of its cell only, so that no run is judged by a correction that it taught."""
    out = []
    cells: dict[tuple, list[Residual]] = defaultdict(list)
    for residual in residuals:
        cells[residual.quantity, residual.basis, residual.device].append(residual)
    for mine in cells.values():
        for group in sorted({r.group for r in mine}):
            others = [r for r in mine if r.group != group]
            part = learnt(others) if others else None
            for run in (r for r in mine if r.group == group):
                out.append(
                    (run, part.bias_log if part else 0.0, part.sigma_log if part else run.sigma_log)
                )
    return out
