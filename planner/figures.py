"""A figure with its uncertainty.

A figure is a lognormal-like triple (p10, p50, p90): hours, bytes and dollars are positive and their
errors are ratios. Sums of independent figures add their spreads in quadrature on each side; factors
multiply.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

Z90 = 1.2815515594600038  # the 90th percentile of the standard normal distribution


@dataclass(frozen=True, slots=True)
class Estimate:
    """p10 ≤ p50 ≤ p90, all in one unit that the name of the field states. Raises ValueError when
    out of order."""

    p10: float
    p50: float
    p90: float

    def __post_init__(self):
        if not (math.isfinite(self.p50) and self.p10 <= self.p50 <= self.p90):
            raise ValueError(f"not an ordered estimate: {self.p10}, {self.p50}, {self.p90}")

    @classmethod
    def exact(cls, value: float) -> Estimate:
        return cls(value, value, value)

    @classmethod
    def with_spread(cls, value: float, sigma_log: float, bias_log: float = 0.0) -> Estimate:
        """``value·exp(bias)`` with a lognormal error of standard deviation ``sigma_log`` (of the
        natural log)."""
        middle = value * math.exp(bias_log)
        factor = math.exp(Z90 * sigma_log)
        return cls(middle / factor, middle, middle * factor)

    def scale(self, factor: float) -> Estimate:
        """This figure times an exactly known, non-negative factor."""
        return Estimate(self.p10 * factor, self.p50 * factor, self.p90 * factor)

    def __add__(self, other: Estimate) -> Estimate:
        """The sum of two independent figures: medians add, spreads add in quadrature."""
        middle = self.p50 + other.p50
        low = math.hypot(self.p50 - self.p10, other.p50 - other.p10)
        high = math.hypot(self.p90 - self.p50, other.p90 - other.p50)
        return Estimate(middle - low, middle, middle + high)

    def __mul__(self, other: Estimate) -> Estimate:
        """The product of two independent positive figures: log spreads add in quadrature."""
        middle = self.p50 * other.p50
        if middle <= 0:
            return Estimate(0.0, 0.0, max(0.0, self.p90 * other.p90))
        low = math.hypot(*(_log_ratio(e.p50, e.p10) for e in (self, other)))
        high = math.hypot(*(_log_ratio(e.p90, e.p50) for e in (self, other)))
        return Estimate(middle * math.exp(-low), middle, middle * math.exp(high))

    def chance_above(self, limit: float) -> float:
        """The probability that the figure is more than a limit, by a lognormal through p50 and, on
        the limit's side, p10 or p90."""
        edge = self.p90 if limit >= self.p50 else self.p10
        if self.p50 <= 0 or limit <= 0:
            return float(self.p50 > limit)
        spread = abs(_log_ratio(edge, self.p50)) / Z90 if edge > 0 else math.inf
        if spread == 0:
            return float(self.p50 > limit)
        return 0.5 * math.erfc(math.log(limit / self.p50) / spread / math.sqrt(2))

    def exceeded_with(self, chance: float) -> float:
        """The value that the figure is above with this probability, strictly between 0 and 1: the
        inverse of ``chance_above``."""
        from statistics import NormalDist

        edge = self.p90 if chance <= 0.5 else self.p10
        if self.p50 <= 0 or edge <= 0:
            return self.p50 if edge > 0 or chance <= 0.5 else edge
        spread = abs(_log_ratio(edge, self.p50)) / Z90
        return self.p50 * math.exp(-spread * NormalDist().inv_cdf(chance))

    def as_dict(self) -> dict[str, float]:
        return {"p10": self.p10, "p50": self.p50, "p90": self.p90}


def _log_ratio(high: float, low: float) -> float:
    return math.log(high / low) if low > 0 and high > 0 else 0.0
