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
    shown = {(one.provider, one.gpu_key, one.spot) for one in prices}
    differing = [one for one in disagreements() if (one.provider, one.gpu_key, one.spot) in shown]
    return {
        "prices": [one.as_dict() for one in prices],
        "disagreements": [one.as_dict() for one in differing],
        "stale_after_days": STALE_DAYS,
        "your_folder": str(user_folder()),
    }


def price_table(found: Mapping[str, Any]) -> Table:
    headers = ("GPU", "USD/GPU-h", "Provider", "Instance", "GPUs", "Date", "Age", "Notes")
    return Table(headers, tuple(_row(one) for one in found["prices"]))


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    age = (
        DASH
        if one["age_days"] is None
        else f"{one['age_days']} d" + (", old" if one["stale"] else "")
    )
    notes = [
        one["status"] if one["status"] != "offered" else "",
        "spot" if one["spot"] else "",
        one["commitment"],
        "" if one["region"] == "any" else one["region"],
        "a marketplace's ask"
        if "a marketplace" in one["reason"]
        else one["reason"]
        if one["status"] == "refused"
        else "",
    ]
    price = DASH if one["usd_per_gpu_hour"] is None else usd_text(one["usd_per_gpu_hour"])
    return (
        one["gpu_key"] or clean(one["gpu"]),
        price,
        clean(one["provider"]),
        clean(one["instance_type"]) or DASH,
        str(one["gpu_count"] or "?"),
        one["captured_date"] or "undated",
        age,
        clean(", ".join(note for note in notes if note)),
    )


def disagreement_table(found: Mapping[str, Any]) -> Table:
    rows = []
    for one in found["disagreements"]:
        each = "; ".join(
            f"{clean(name)} {usd_text(price)} ({one['dates'][name]})"
            for name, price in one["usd_per_gpu_hour"].items()
        )
        rows.append(
            (
                clean(one["provider"]),
                one["gpu_key"] + (", spot" if one["spot"] else ""),
                f"{one['ratio']:.2f} ×",
                each,
            )
        )
    return Table(("Provider", "GPU", "Apart", "Sources"), tuple(rows))
