"""How many virtual cores of an instance there are for each of its devices, by the tables of
prices."""

from __future__ import annotations

import statistics

from planner import tables
from planner.cost.prices.tables import rows_by_gpu


def cores_per_device(gpu_key: str) -> float:
    """The median over the offers of a device; over all devices' medians where no offer says it.
    Raises ValueError where no table does."""
    own = _cores(rows_by_gpu().get(gpu_key, ()))
    if own:
        return statistics.median(own)
    each = (_cores(rows) for rows in rows_by_gpu().values())
    return statistics.median([statistics.median(found) for found in each if found])


def _cores(rows: list[dict[str, str]] | tuple[()]) -> list[float]:
    found = []
    for row in rows:
        cores, devices = tables.number(row["vcpus"]), tables.number(row["gpu_count"])
        if cores and devices:
            found.append(cores / devices)
    return found
