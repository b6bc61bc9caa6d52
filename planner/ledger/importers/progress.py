"""Step times out of a log of moments and step numbers."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

from planner.ledger.stopwatch import RECORDED_SAMPLES, ends, thinned

FEWEST = 3  # stretches between log lines from which a median says something
NOTE = "step times are the means between lines of the log: the wait for data is in them"


def of_moments(moments: Iterable[tuple[float, float]]) -> dict[str, Any]:
    """``(seconds, step)`` of the lines of a log, in any order, to the names of a record's
    ``measurement``: the median over the stretches between lines (so evaluation and saving, which
    few stretches hold, do not count), without the first. Steps that go back are another run's or a
    resumed one's: the stretch is left out. Empty where too little is known."""
    found = sorted({(float(second), float(step)) for second, step in moments})
    stretches = [
        (later - earlier) / (after - before)
        for (earlier, before), (later, after) in zip(found, found[1:])
        if after > before and later > earlier
    ]
    kept = stretches[1:] if len(stretches) > FEWEST else stretches
    if len(kept) < FEWEST:
        return {}
    low, high = ends(kept)
    return dict(
        step_seconds=statistics.median(kept),
        step_seconds_p10=low,
        step_seconds_p90=high,
        step_samples=thinned(kept, RECORDED_SAMPLES),
    )


def last_step(moments: Iterable[tuple[float, float]]) -> int | None:
    steps = [step for _, step in moments if step >= 1 and step == int(step)]
    return int(max(steps)) if steps else None
