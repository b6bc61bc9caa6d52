"""How far measured operations lie from the datasheet's price of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Beside:
    """Of a family's ``n`` measured sizes: the middle of log(measured / datasheet), and the standard
    deviation about it of a size that was not measured."""

    log_ratio: float
    sigma_log: float
    n: int


def read(written: Mapping[str, Mapping[str, Any]]) -> dict[str, Beside]:
    """By family, from what ``as_written`` made. Raises KeyError, TypeError, ValueError."""
    found = {
        str(family): Beside(float(row["log_ratio"]), float(row["sigma_log"]), int(row["n"]))
        for family, row in written.items()
    }
    for family, one in found.items():
        if not (abs(one.log_ratio) < float("inf") and 0 < one.sigma_log < float("inf")):
            raise ValueError(f"datasheet {family} holds a number that no measurement gives")
    return found


def as_written(beside: Mapping[str, Beside]) -> dict[str, dict[str, Any]]:
    """JSON-able, rounded to what a measurement can mean."""
    return {
        family: {
            name: value if isinstance(value, int) else float(f"{value:.3g}")
            for name, value in asdict(one).items()
        }
        for family, one in sorted(beside.items())
    }
