"""Work on machines that are taken away: what checkpoints cost, what an interruption loses, how
often to save.

Interruptions are a Poisson process while the machine works, writes a checkpoint or restarts (Daly's
complete model). A checkpoint is written after each interval of work; an interruption loses the work
since the last one and costs a restart.

Sources: J. W. Young, "A first order approximation to the optimum checkpoint interval", CACM 17(9),
1974; J. T. Daly, "A higher order estimate of the optimum checkpoint interval for restart dumps",
FGCS 22(3), 2006, equations 20 and 37.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from planner.errors import FieldName, QuestionError
from planner.figures import Z90, Estimate

SHORTEST_HOURS = 1 / 3600  # nobody saves more often than every second


@dataclass(frozen=True)
class Interrupted:
    """What interruptions add to a run: hours beyond those of an undisturbed one, for checkpoints,
    lost work and restarts."""

    interval_hours: float  # of work between two checkpoints
    extra_hours: Estimate  # checkpoints, lost work and restarts
    interruptions: float  # expected


def young_interval(save: float, mean_between: float) -> float:
    """Young's interval of work between checkpoints: the square root of twice the writing time times
    the mean time between interruptions. All in one unit of time."""
    _check(save, mean_between)
    return math.sqrt(2 * save * mean_between)


def daly_interval(save: float, mean_between: float) -> float:
    """Daly's higher-order interval of work between checkpoints, good also where interruptions are
    as frequent as checkpoints."""
    _check(save, mean_between)
    if save >= 2 * mean_between:
        return mean_between
    ratio = save / (2 * mean_between)
    return math.sqrt(2 * save * mean_between) * (1 + math.sqrt(ratio) / 3 + ratio / 9) - save


def expected_time(
    work: float, interval: float, save: float, restart: float, mean_between: float
) -> float:
    """Expected time to finish ``work`` with a checkpoint after each ``interval`` (Daly's complete
    model; the last part of an interval is saved too). All in one unit of time; infinite where
    nothing can finish. Raises QuestionError for what is no time."""
    _check(save, mean_between)
    if interval <= 0 or work < 0 or restart < 0:
        raise QuestionError(
            "an interval, a work or a restart that is no time",
            where=FieldName("checkpoint_minutes"),
        )
    whole, rest = divmod(work, interval)
    segments = [(whole, interval)] + ([(1.0, rest)] if rest > 1e-12 * interval else [])
    return sum(
        count * _segment(length + save, restart, mean_between)
        for count, length in segments
        if count
    )


def _segment(length: float, restart: float, mean_between: float) -> float:
    try:
        return mean_between * math.exp(restart / mean_between) * math.expm1(length / mean_between)
    except OverflowError:
        return math.inf


def interrupted(
    work_hours: float,
    *,
    save_hours: float,
    restart_hours: float,
    interruptions_per_day: Estimate,
    interval_hours: float | None = None,
) -> Interrupted:
    """What ``work_hours`` of training lose to interruptions of all its machines together (a run
    stops when one of them goes).

    Without an interval Daly's best is taken, at most the whole work. The range holds the rate's own
    range and the chance of more or fewer interruptions than expected. Raises QuestionError where no
    checkpoint would ever be reached.
    """
    rates = [
        rate / 24
        for rate in (
            interruptions_per_day.p10,
            interruptions_per_day.p50,
            interruptions_per_day.p90,
        )
    ]
    if rates[1] <= 0 or work_hours <= 0:
        return Interrupted(interval_hours or work_hours, Estimate.exact(0.0), 0.0)
    interval = min(
        work_hours, interval_hours or max(daly_interval(save_hours, 1 / rates[1]), SHORTEST_HOURS)
    )
    times = [
        expected_time(work_hours, interval, save_hours, restart_hours, 1 / rate)
        if rate > 0
        else work_hours + save_hours * math.ceil(work_hours / interval)
        for rate in rates
    ]
    if not math.isfinite(times[2]) or times[1] > 1e4 * work_hours:
        raise QuestionError(
            f"at {interruptions_per_day.p50:g} interruptions a day hardly any interval of "
            f"{interval:.3g} h is finished",
            where=FieldName("spot"),
            mend=f"Save more often with {FieldName('checkpoint_minutes')}, or rent on demand",
        )
    expected = rates[1] * times[1]
    # One interruption loses a part of the interval, uniform, and a restart: its spread by the
    # number of interruptions.
    chance = Z90 * math.sqrt(
        expected
        * (
            (interval + save_hours) ** 2 / 3
            + restart_hours * (interval + save_hours)
            + restart_hours**2
        )
    )
    extra = [time - work_hours for time in times]
    # no interruption at all: the checkpoints alone
    least = save_hours * math.ceil(work_hours / interval)
    low = max(least, extra[1] - math.hypot(extra[1] - extra[0], chance))
    return Interrupted(
        interval,
        Estimate(min(low, extra[1]), extra[1], extra[1] + math.hypot(extra[2] - extra[1], chance)),
        expected,
    )


def _check(save: float, mean_between: float) -> None:
    if not (save >= 0 and math.isfinite(save) and mean_between > 0):
        raise QuestionError(
            "a time to save or between interruptions that is no time",
            where=FieldName("interruptions_per_day"),
        )
