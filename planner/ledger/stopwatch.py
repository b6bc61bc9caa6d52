"""Times of many steps in little memory: a bounded, evenly spaced sample, and what of the beginning
was warming up."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

OPENING_STEPS = 32  # kept one by one: warming up and compiling are among them
# left out where enough steps follow: the first makes the optimizer's state and picks kernels
WARM_UP_STEPS = 2
SLOW = 1.5  # a step of the beginning that takes so many times the usual is still warming up
SAMPLE_STEPS = 1024  # kept of the rest; twice this many are halved to every second one
RECORDED_SAMPLES = 256  # of these at most are written into the record


class BoundedSample:
    """Every 2^k-th value of a stream, with the smallest k at which fewer than ``2 * limit`` are
    kept."""

    def __init__(self, limit: int = SAMPLE_STEPS) -> None:
        self.limit, self.values, self.stride, self.seen = limit, [], 1, 0

    def add(self, value: float) -> None:
        if self.seen % self.stride == 0:
            self.values.append(value)
            if len(self.values) >= 2 * self.limit:
                self.values, self.stride = self.values[::2], self.stride * 2
        self.seen += 1


class StepTimes:
    """Seconds of a run's steps, one after the other."""

    def __init__(self) -> None:
        self.opening: list[float] = []
        self.rest = BoundedSample()
        self.count, self.total_seconds = 0, 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.total_seconds += seconds
        if len(self.opening) < OPENING_STEPS:
            self.opening.append(seconds)
        else:
            self.rest.add(seconds)

    def warm_up_steps(self) -> int:
        """How many of the first steps are apart: at least ``WARM_UP_STEPS`` where as many again
        follow, and after them those that are slow without a pause between them."""
        if self.count < 2 * WARM_UP_STEPS:
            return 0
        usual = statistics.median(self.opening[WARM_UP_STEPS:] + self.rest.values)
        found = WARM_UP_STEPS
        while found < len(self.opening) - 1 and self.opening[found] > SLOW * usual:
            found += 1
        return found

    def steady(self, apart: int) -> list[float]:
        """The sample without the first ``apart`` steps, at most OPENING_STEPS of them."""
        return self.opening[apart:] + self.rest.values

    def mean(self, apart: int) -> float:
        """Of all steps but the first ``apart``. Raises ZeroDivisionError where there are no
        more."""
        return (self.total_seconds - sum(self.opening[:apart])) / (self.count - apart)

    def summary(self) -> dict[str, Any]:
        """The names of a record's ``measurement``: the median step with its tenth and ninetieth
        percentile, the mean of all steady steps (which is what hours are made of where lengths
        differ), a sample, and the warming up. Empty without steps."""
        if not self.count:
            return {}
        apart = self.warm_up_steps()
        kept = self.steady(apart)
        low, high = ends(kept)
        return dict(
            step_seconds=statistics.median(kept),
            step_seconds_p10=low,
            step_seconds_p90=high,
            step_seconds_mean=self.mean(apart),
            step_samples=thinned(kept, RECORDED_SAMPLES),
            warm_up_steps=apart,
            warm_up_seconds=sum(self.opening[:apart]),
        )


def ends(samples: Sequence[float]) -> tuple[float, float]:
    """The tenth and the ninetieth percentile; of a single value, itself twice. Raises ValueError
    for none."""
    if not samples:
        raise ValueError("no samples")
    if len(samples) == 1:
        return samples[0], samples[0]
    tenths = statistics.quantiles(samples, n=10, method="inclusive")
    return tenths[0], tenths[-1]


def thinned(values: Sequence[float], most: int) -> list[float]:
    """At most ``most`` values, evenly spaced, the first among them."""
    stride = -(-len(values) // most) if values else 1
    return list(values[::stride])
