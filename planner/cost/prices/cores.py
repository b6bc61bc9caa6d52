"""How many virtual cores of an instance there are for each of its devices, by the tables of
prices."""

from __future__ import annotations

import statistics

from planner.cost.prices.tables import cores_by_gpu


def cores_per_device(gpu_key: str) -> float:
    """The median over the offers of a device; over all devices' medians where no offer says it.
    Raises ValueError where no table does."""
    known = cores_by_gpu()
    return known[gpu_key] if gpu_key in known else statistics.median(known.values())
