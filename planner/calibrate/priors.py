"""What a calibration assumes of measurements: rows of ``profiles/priors/calibration.csv``."""

from __future__ import annotations

from functools import cache

from planner import tables
from planner.errors import ProfileError


@cache
def prior(key: str) -> float:
    """The value of a row, in the row's unit. Raises ProfileError."""
    for row in tables.rows("priors", "calibration.csv"):
        if row["key"] == key:
            return float(row["value"])
    raise ProfileError(f"no row {key!r}", where="profiles/priors/calibration.csv")
