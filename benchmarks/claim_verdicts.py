"""Does a published claim hold? Pure rules on figures: the claim's range against ours, case by case.

A case is inside when our middle lies in the claim's range, it touches when only our p10 to p90
does, else it is outside. A claim holds when every case is inside, holds under conditions when some
case is inside or touches, and is wrong else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from planner.figures import Estimate

Place = Literal["inside", "touches", "outside"]

HOLDS, CONDITIONS, WRONG, UNCHECKED = (
    "holds",
    "holds under conditions",
    "wrong",
    "not for a cost planner",
)
VERDICTS = (HOLDS, CONDITIONS, WRONG, UNCHECKED)


@dataclass(frozen=True)
class Case:
    """Our figure for one case of a claim, in the claim's unit. ``note``: what the reader sees
    beside it."""

    name: str
    figure: Estimate
    note: str = ""


def place(low: float | None, high: float | None, figure: Estimate) -> Place:
    """Where our figure lies; None is an open end."""
    bottom, top = -math.inf if low is None else low, math.inf if high is None else high
    if bottom <= figure.p50 <= top:
        return "inside"
    return "touches" if figure.p10 <= top and figure.p90 >= bottom else "outside"


def verdict(low: float | None, high: float | None, cases: Iterable[Case]) -> str:
    """One of VERDICTS; without cases there is nothing that a cost planner can say."""
    places = [place(low, high, case.figure) for case in cases]
    if not places:
        return UNCHECKED
    if all(p == "inside" for p in places):
        return HOLDS
    return WRONG if all(p == "outside" for p in places) else CONDITIONS


def off_by(
    low: float | None, high: float | None, cases: Iterable[Case]
) -> tuple[float, float] | None:
    """(least, most) factor by which our middles miss the range, below 1 where ours are smaller;
    None unless all miss it on one side."""
    factors = [_factor(low, high, case.figure.p50) for case in cases]
    if not factors or any(f is None for f in factors) or len({f > 1 for f in factors}) > 1:
        return None
    return min(factors), max(factors)


def _factor(low: float | None, high: float | None, middle: float) -> float | None:
    """None inside the range, and where an end of zero makes a factor meaningless."""
    if low is not None and middle < low:
        return middle / low if low > 0 else None
    if high is not None and middle > high:
        return middle / high if high > 0 else None
    return None


def amount_reaching(
    target: float, amounts: tuple[float, float], values: tuple[float, float]
) -> float | None:
    """The amount at which a cost that grows in a straight line through two points reaches
    ``target``; None where it does not grow."""
    slope = (values[1] - values[0]) / (amounts[1] - amounts[0])
    if slope <= 0 or target <= values[0] - slope * amounts[0]:
        return None
    return amounts[0] + (target - values[0]) / slope
