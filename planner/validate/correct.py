"""From residuals to corrections: how far the planner is off on a device, and how sure it is after
that.

The middle is an empirical-Bayes mean, shrunk towards none: by how many different models speak for
it, not by how many runs, since runs of one model err together. The spread is split-conformal where
there are enough models (Lei et al. 2018, arXiv 1604.04173): each model is predicted from the others
(leave one group out), and the 80 % quantile of what remains, with the finite-sample correction, is
what the interval must hold. With fewer models the prior spread stays part of it.

A correction comes into force only where it makes models better that did not teach it: every kind of
model is left out in turn, and what their errors fall by must be more than chance (``judge``).
"""

from __future__ import annotations

import datetime
import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np

from planner import tables
from planner.figures import Z90
from planner.today import system_date
from planner.uncertainty.corrections import ANY, Correction

COVERED = 0.80
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Residual:
    """One run's error: ``log(measured / predicted)`` of the uncorrected middle. ``group``: what
    errs together (model and strategy); ``kin``: the kind of model, all of which is left out at once
    where a correction is judged (the group, where it is blank); ``source``: whose measurement it
    is, blank where all are one's; ``sigma_log``: the spread that the planner stated."""

    quantity: str
    basis: str
    device: str
    family: str
    group: str
    log_ratio: float
    sigma_log: float
    kin: str = ""
    source: str = ""

    @property
    def left_out_with(self) -> str:
        return self.kin or self.group


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
    least_judges: float
    margin_errors: float
    least_gain: float


@cache
def priors() -> Priors:
    """Raises ProfileError."""
    found = tables.rows("priors", "corrections.csv")
    return Priors(**{row["key"]: float(row["value"]) for row in found})


def learn(residuals: Iterable[Residual], on_date: datetime.date | None = None) -> list[Correction]:
    """A correction for each device, basis and quantity with runs (of that kind of work alone, where
    they are of one), and for each kind of work on it that has at least two models; each judged by
    kinds of models that did not teach it, and in force only where that says that it helps."""
    made = (on_date or system_date()).isoformat()
    found: list[Correction] = []
    for cell, mine in sorted(_cells(residuals).items()):
        whole = learnt(mine)
        judged = judge(mine, mine)
        by_family = _by(mine, lambda residual: residual.family)
        # runs of one kind of work say nothing of another; the context is the same for all
        alone = len(by_family) == 1 and cell[0] != "context"
        whose = mine[0].family if alone else ANY
        found.append(_correction(cell, whose, whole, judged, runs=len(mine), made=made))
        for family, own in sorted(by_family.items()):
            if len({r.group for r in own}) >= 2 and len(by_family) > 1:
                part, judged = _of_family(mine, own, whole)
                found.append(_correction(cell, family, part, judged, runs=len(own), made=made))
    return found


Cell = tuple[str, str, str]


def _cells(residuals: Iterable[Residual]) -> dict[Cell, list[Residual]]:
    finite = (r for r in residuals if math.isfinite(r.log_ratio))
    return _by(finite, lambda r: (r.quantity, r.basis, r.device))


def _by(residuals: Iterable[Residual], key: Callable[[Residual], Key]) -> dict[Key, list[Residual]]:
    found: dict[Key, list[Residual]] = defaultdict(list)
    for residual in residuals:
        found[key(residual)].append(residual)
    return found


def _of_family(
    mine: Sequence[Residual], own: Sequence[Residual], whole: Learnt
) -> tuple[Learnt, Judgement]:
    """(what a kind of work takes, how it was judged): its own correction, or its device's, or none,
    whichever does best on this work's models left out."""
    family = own[0].family
    apart = learnt(own, centre=whole.bias_log, share=priors().family_share)
    of_own, of_device = judge(mine, own, family), judge(mine, own)
    if of_device.helps and not (of_own.helps and of_own.gain_log >= of_device.gain_log):
        return whole, of_device
    return apart, of_own


@dataclass(frozen=True)
class Judgement:
    """A correction on kinds of models, or sources, (``judges`` of them) left out in turn.
    ``gain_log``: by how much |ln(measured / predicted)| falls, the mean over these kinds;
    ``margin_log``: the least that is no chance; the errors are medians of runs."""

    judges: int
    gain_log: float = 0.0
    margin_log: float = math.inf
    error_before: float | None = None
    error_after: float | None = None

    @property
    def helps(self) -> bool:
        before, after = self.error_before, self.error_after
        if before is None or after is None:
            return False
        return self.gain_log > self.margin_log and after < before


def judge(mine: Sequence[Residual], own: Sequence[Residual], family: str = ANY) -> Judgement:
    """What a correction learnt from ``mine`` does to ``own``, some of them: each kind of model is
    left out of what is learnt, and then corrected. ``family``: that kind of work's own correction,
    else its device's. Where the runs are of several sources, of which each has a software and a
    way to measure of its own, each source is left out in turn as well, and it has to help both
    ways."""
    judged = _judged(mine, own, family, lambda residual: residual.left_out_with)
    if len({residual.source for residual in mine}) == 1:
        return judged
    by_source = _judged(mine, own, family, lambda residual: residual.source)
    return by_source if judged.helps and not by_source.helps else judged


def _judged(
    mine: Sequence[Residual],
    own: Sequence[Residual],
    family: str,
    apart: Callable[[Residual], str],
) -> Judgement:
    kin = _by(own, apart)
    known = priors()
    if len(kin) < known.least_judges:
        return Judgement(len(kin))
    gains: list[float] = []
    before: list[float] = []
    after: list[float] = []
    for name, runs in kin.items():
        bias = _bias([r for r in mine if apart(r) != name], family)
        plain = [abs(run.log_ratio) for run in runs]
        moved = [abs(run.log_ratio - bias) for run in runs]
        gains.append(float(np.mean(plain)) - float(np.mean(moved)))
        before += [abs(math.expm1(-run.log_ratio)) for run in runs]
        after += [abs(math.expm1(bias - run.log_ratio)) for run in runs]
    error = float(np.std(gains, ddof=1)) / math.sqrt(len(gains))
    return Judgement(
        judges=len(kin),
        gain_log=float(np.mean(gains)),
        margin_log=max(known.least_gain, known.margin_errors * error),
        error_before=float(np.median(before)),
        error_after=float(np.median(after)),
    )


def _bias(others: Sequence[Residual], family: str) -> float:
    """What is learnt without a kind of model; 0 where nothing else taught."""
    if not others:
        return 0.0
    whole = shrunk_bias(others)
    own = [r for r in others if r.family == family]
    if family == ANY or not own:
        return whole
    return shrunk_bias(own, centre=whole, share=priors().family_share)


def _correction(
    cell: Cell, family: str, learnt: Learnt, judged: Judgement, *, runs: int, made: str
) -> Correction:
    quantity, basis, device = cell
    is_judged = judged.error_before is not None
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
        in_force=judged.helps,
        judged=judged.judges,
        error_before=judged.error_before,
        error_after=judged.error_after,
        gain_log=judged.gain_log if is_judged else None,
        margin_log=judged.margin_log if is_judged else None,
    )


def shrunk_bias(
    residuals: Sequence[Residual], centre: float = 0.0, share: float | None = None
) -> float:
    """The bias of ``learnt`` alone."""
    share = priors().device_share if share is None else share
    prior = float(np.median([r.sigma_log for r in residuals]))
    means = [float(np.mean(group)) for group in _by_group(residuals).values()]
    return _shrunk(means, centre, share * prior)[0]


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
    """For reporting: (run, bias, spread) with each kind of model's correction learnt from the other
    kinds of its cell only, and in force only where these say so: no run is judged by a correction
    that it taught or let in force."""
    out: list[tuple[Residual, float, float]] = []
    for mine in _by(residuals, lambda r: (r.quantity, r.basis, r.device)).values():
        for name, runs in sorted(_by(mine, lambda r: r.left_out_with).items()):
            others = [r for r in mine if r.left_out_with != name]
            found = {c.family: c for c in learn(others)}
            for run in runs:
                part = found.get(run.family) or found.get(ANY)
                is_moved = part is not None and part.in_force
                out.append(
                    (run, part.bias_log, part.sigma_log)
                    if part is not None and is_moved
                    else (run, 0.0, run.sigma_log)
                )
    return out
