"""The figures of the claims as words, three figures each."""

from __future__ import annotations

import math

from planner.figures import Estimate
from planner.units import format_usd


def span(estimate: Estimate, unit: str) -> str:
    """Middle with its unit, p10 and p90 in brackets without; the middle alone where there is no
    range."""
    middle, low, high = (
        figure(value, unit) for value in (estimate.p50, estimate.p10, estimate.p90)
    )
    return (
        middle
        if low == high
        else f"{middle} ({low.removesuffix(f' {unit}')} to {high.removesuffix(f' {unit}')})"
    )


def figure(value: float, unit: str) -> str:
    if unit.startswith("usd"):
        return dollars(value)
    return percent(100 * value) if unit == "share" else f"{three_figures(value)} {unit}".strip()


def dollars(usd: float) -> str:
    if usd < 1000:
        return format_usd(usd)
    return f"${usd / 1e6:,.3g}M" if usd >= 1e6 else f"${three_figures(usd)}"


def percent(value: float) -> str:
    """Three figures; close below a hundred, three figures of what lacks to it."""
    tail = 100 - value if 99.9 < value < 100 else abs(value)
    digits = max(0, 2 - math.floor(math.log10(tail))) if 0 < tail < 10 else 1
    text = f"{value:.{digits}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + " %"


def count(value: float) -> str:
    """Two figures: 23,000,000 samples, 1.2T tokens."""
    rounded = float(f"{value:.2g}")
    return (
        f"{rounded:,.0f}"
        if rounded < 1e9
        else f"{rounded / 1e12:g}T"
        if rounded >= 1e12
        else f"{rounded / 1e9:g}B"
    )


def three_figures(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{float(f'{value:.3g}'):,.0f}"
