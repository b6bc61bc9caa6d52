"""Seconds of the steps and pauses that a run still has before it, from those that it has had."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from planner.figures import Z90, Estimate

if TYPE_CHECKING:
    from planner.recording.outlook import PlannedRun

#: Steps that follow each other resemble each other: how much, is judged by stretches of the run of
#: every size of which it has had so many.
FEWEST_STRETCHES = 4


def steps_to_come(kept: Sequence[float], mean: float, seen: int, left: int) -> Estimate:
    """Of ``left`` steps like the ``seen`` ones, of which ``kept`` is a sample in order: the
    prediction interval of a sum. Its variance is ``left`` times that of a step, and that of their
    mean ``left`` times over; both grow where neighbouring steps resemble each other. Of few steps
    the tenth percentiles are Student's."""
    middle = left * mean
    if left == 0 or len(kept) < 2:
        # one step says nothing of its spread
        return Estimate.exact(middle)
    grown, freedom = resemblance(kept)
    variance = grown * statistics.variance(kept) * left * (1 + left / seen)
    width = student(freedom) * math.sqrt(variance)
    return Estimate(max(0.0, middle - width), middle, middle + width)


def resemblance(kept: Sequence[float]) -> tuple[float, int]:
    """(how many times larger the variance of a sum is than that of steps that know nothing of each
    other, degrees of freedom that this is known with): by the means of stretches of the run, whose
    variance times their size is a step's own where steps are alike (batch means; Law 2015,
    Simulation Modeling and Analysis, section 9.5.3)."""
    own = statistics.variance(kept)
    found, size = (1.0, len(kept) - 1), 2
    while own > 0 and len(kept) // size >= FEWEST_STRETCHES:
        ends = range(size, len(kept) + 1, size)
        means = [statistics.fmean(kept[end - size : end]) for end in ends]
        found = max(found, (size * statistics.variance(means) / own, len(means) - 1))
        size *= 2
    return found


def student(freedom: int) -> float:
    """The 90th percentile of Student's distribution: exact for one and two degrees of freedom,
    beyond them by Fisher's expansion in their inverse (Abramowitz and Stegun 1964, 26.7.5), off by
    less than 1 %."""
    if freedom == 1:
        return math.tan(math.pi * (0.9 - 0.5))
    if freedom == 2:
        return 0.8 * math.sqrt(2 / (1 - 0.8**2))
    z = Z90
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / freedom + second / freedom**2


def pauses_to_come(
    to_come: Mapping[str, int], seen: Mapping[str, Sequence[float]], plan: PlannedRun
) -> tuple[Estimate, tuple[str, ...]]:
    """(seconds of the pauses still to come, those of which nothing is known): as long as those
    that were seen, else as the plan says."""
    total, unknown = Estimate.exact(0.0), []
    for name, count in to_come.items():
        mine = seen.get(name, ())
        left = count - len(mine)
        if left <= 0:
            continue
        if mine:
            total += steps_to_come(mine, statistics.fmean(mine), len(mine), left)
        elif name in plan.pause_seconds:
            total += plan.pause_seconds[name].scale(left)
        else:
            unknown.append(f"{left:,} {name}{'s' * (left > 1)}")
    return total, tuple(unknown)
