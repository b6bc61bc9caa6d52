"""What the planner's errors on measured runs teach: comparisons become residuals, and judge
corrections by runs left out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from planner.figures import Z90, Estimate
from planner.uncertainty.corrections import QUANTITIES
from planner.validate.correct import Residual, predicted_apart
from planner.validate.summaries import Comparison

#: Comparisons that corrections are learnt from; what else is compared follows from these.
LEARNT = QUANTITIES
#: Surer than this no figure is said to be, so that a residual of an exact figure can be weighed.
LEAST_SPREAD = 0.01


def residuals(comparisons: Iterable[Comparison]) -> list[Residual]:
    """``log(measured / predicted)`` of each comparison that teaches something. The comparisons must
    be the planner's own word: made inside ``planner.uncertainty.corrections.without()``. ``family``
    is the modality, which corrections are looked up by."""
    return [residual(c) for c in comparisons if teaches(c)]


def teaches(comparison: Comparison) -> bool:
    return comparison.quantity in LEARNT and comparison.p50 > 0 and comparison.measured > 0


def residual(comparison: Comparison) -> Residual:
    c = comparison
    sigma_log = math.log(c.p90 / c.p10) / (2 * Z90) if c.p10 > 0 else LEAST_SPREAD
    return Residual(
        quantity=c.quantity,
        basis=c.basis,
        device=c.gpu,
        family=c.modality,
        group=group(c),
        log_ratio=-c.log_ratio,
        sigma_log=max(sigma_log, LEAST_SPREAD),
        kin=c.family,
        source=c.table,
    )


def group(comparison: Comparison) -> str:
    """What errs together: runs of one model and strategy."""
    return f"{comparison.model or comparison.family}/{comparison.strategy}"


def left_out(comparisons: Iterable[Comparison]) -> list[Comparison]:
    """Each comparison as it would be if the planner had learnt from all other kinds of models of
    its device and basis, judged by them whether that helps, and not seen this one. Where it does
    not a comparison stays as it is."""
    teaching = [c for c in comparisons if teaches(c)]
    pairs = [(residual(c), c) for c in teaching]
    own = {id(r): c for r, c in pairs}
    corrected = []
    for run, bias_log, sigma_log in predicted_apart([r for r, _ in pairs]):
        figure = Estimate.with_spread(own[id(run)].p50, sigma_log, bias_log)
        corrected.append(replace(own[id(run)], p10=figure.p10, p50=figure.p50, p90=figure.p90))
    return corrected


def run_name(table: str, case_id: str) -> str:
    """By which corrections remember that they were learnt from a run."""
    return f"{table}:{case_id}"
