"""What the page's boxes offer: names that are known without asking anybody."""

from __future__ import annotations

from functools import cache
from typing import Any

from planner import tables
from planner.cost.prices.tables import price_rows, rows_by_gpu
from planner.devices.specification import all_devices
from planner.question.what import PAID_STRATEGIES, TRAINING_STRATEGIES
from planner.report.formats.registry import formats_of
from planner.serve.work.ahead import POSITIONS
from planner.trace.source import shipped_models


@cache
def names() -> dict[str, Any]:
    """``models`` with whether their traces ship (answered at once), ``gpus`` that somebody rents,
    ``providers``, ``strategies``, the ``reports`` that can be downloaded and the positions of the
    ``sliders``."""
    rented = rows_by_gpu()
    shipped = shipped_models()
    rows = tables.rows("models", "catalogue.csv")
    return {
        "models": [
            {"name": row["name"], "hub_id": row["hub_id"] or None, "quick": row["name"] in shipped}
            for row in rows
        ],
        "gpus": [
            {"key": spec.key, "name": spec.name, "memory_bytes": spec.total_memory_bytes}
            for spec in all_devices()
            if spec.key in rented and spec.is_cuda_like
        ],
        "providers": sorted({row["provider"] for row in price_rows() if row.get("provider")}),
        "strategies": list(TRAINING_STRATEGIES),
        "paid_strategies": list(PAID_STRATEGIES),
        "reports": list(formats_of("answer")),
        "sliders": {name: list(places) for name, places in POSITIONS.items()},
    }
