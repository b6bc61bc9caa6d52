"""Prices as records and tables, for ``planner prices``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.report.views.table import DASH, Table
from planner.report.words import clean, usd_text


def listed(
    *,
    gpu: str | None = None,
    provider: str | None = None,
    region: str | None = None,
    spot: bool | None = None,
    everything: bool = False,
) -> dict[str, Any]:
    """``prices`` and ``disagreements`` as plain records. Raises UnknownNameError and QuestionError
    for a GPU or provider that is not known."""
    from planner.cost.prices.listing import disagreements, price_list
    from planner.cost.prices.offers import STALE_DAYS
    from planner.cost.prices.tables import user_folder
    from planner.devices.lookup import resolve_device

    key = resolve_device(gpu).spec.key if gpu else None
    prices = price_list(
        gpu_key=key, provider=provider, region=region, spot=spot, everything=everything
    )
    shown = {(row.provider, row.gpu_key, row.spot) for row in prices}
    differing = [row for row in disagreements() if (row.provider, row.gpu_key, row.spot) in shown]
    return {
        "prices": [row.as_dict() for row in prices],
        "disagreements": [row.as_dict() for row in differing],
        "stale_after_days": STALE_DAYS,
        "your_folder": str(user_folder()),
    }


def price_table(found: Mapping[str, Any]) -> Table:
    headers = ("GPU", "USD/GPU-h", "Provider", "Instance", "GPUs", "Date", "Age", "Notes")
    return Table(headers, tuple(_row(row) for row in found["prices"]))


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    age = (
        DASH
        if row["age_days"] is None
        else f"{row['age_days']} d" + (", old" if row["stale"] else "")
    )
    notes = [
        row["status"] if row["status"] != "offered" else "",
        "spot" if row["spot"] else "",
        row["commitment"],
        "" if row["region"] == "any" else row["region"],
        "a marketplace's ask"
        if "a marketplace" in row["reason"]
        else row["reason"]
        if row["status"] == "refused"
        else "",
    ]
    price = DASH if row["usd_per_gpu_hour"] is None else usd_text(row["usd_per_gpu_hour"])
    return (
        row["gpu_key"] or clean(row["gpu"]),
        price,
        clean(row["provider"]),
        clean(row["instance_type"]) or DASH,
        str(row["gpu_count"] or "?"),
        row["captured_date"] or "undated",
        age,
        clean(", ".join(note for note in notes if note)),
    )


def disagreement_table(found: Mapping[str, Any]) -> Table:
    rows = []
    for row in found["disagreements"]:
        each = "; ".join(
            f"{clean(name)} {usd_text(price)} ({row['dates'][name]})"
            for name, price in row["usd_per_gpu_hour"].items()
        )
        rows.append(
            (
                clean(row["provider"]),
                row["gpu_key"] + (", spot" if row["spot"] else ""),
                f"{row['ratio']:.2f} ×",
                each,
            )
        )
    return Table(("Provider", "GPU", "Apart", "Sources"), tuple(rows))
