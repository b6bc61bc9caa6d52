"""The shipped GPUs and models as rows, for ``planner gpus`` and ``planner models``. None where a
fact is not known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from planner.errors import PlannerError, UnknownNameError
from planner.report.views.answer import DASH, Table
from planner.report.words import bytes_text, clean, count_text, usd_text
from planner.units import TERA


def gpus(like: str | None = None) -> list[dict[str, Any]]:
    """One record a device: sizes in bytes, rates in FLOP/s and bytes/s, prices in USD a GPU-hour on
    demand, lowest and highest. Raises UnknownNameError when ``like`` matches none."""
    from planner.devices.specification import all_devices

    known = [
        spec
        for spec in all_devices()
        if like is None or like.lower() in f"{spec.key} {spec.name}".lower()
    ]
    if not known:
        raise UnknownNameError("GPU", like or "", [spec.key for spec in all_devices()])
    return [
        {
            "key": s.key,
            "name": s.name,
            "memory_bytes": s.total_memory_bytes,
            "memory_bandwidth_bytes_per_s": s.bandwidth_bytes_per_s(),
            "peak_flops_per_s": dict(s.peak_flops),
            "tdp_watts": s.tdp_watts,
            **_prices(s.key),
        }
        for s in known
    ]


def _prices(key: str) -> dict[str, float | int | None]:
    from planner.cost.prices.offers import offers

    try:
        found = [offer.usd_per_gpu_hour for offer in offers(key)]
    except PlannerError:  # no provider offers it: no price is an answer here
        found = []
    return {
        "lowest_usd_per_gpu_hour": min(found, default=None),
        "highest_usd_per_gpu_hour": max(found, default=None),
        "offers": len(found),
    }


def gpu_table(known: Sequence[dict[str, Any]]) -> Table:
    headers = ("GPU", "Key", "Memory", "GB/s", "fp32 TFLOP/s", "bf16/fp16 TFLOP/s", "USD/GPU-hour")
    rows = []
    for gpu in known:
        peak, bandwidth = gpu["peak_flops_per_s"], gpu["memory_bandwidth_bytes_per_s"]
        rows.append(
            (
                clean(gpu["name"]),
                gpu["key"],
                bytes_text(gpu["memory_bytes"]),
                _rate(bandwidth, 1e9),
                _rate(peak.get("fp32"), TERA),
                _rate(peak.get("bf16") or peak.get("fp16"), TERA),
                _span(gpu["lowest_usd_per_gpu_hour"], gpu["highest_usd_per_gpu_hour"]),
            )
        )
    return Table(headers, tuple(rows))


def _rate(value: float | None, unit: float) -> str:
    return (
        DASH
        if value is None
        else f"{value / unit:,.0f}"
        if value / unit >= 10
        else f"{value / unit:.1f}"
    )


def _span(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return DASH
    return usd_text(low) if low == high else f"{usd_text(low)}–{usd_text(high)}"


def models(like: str | None = None) -> list[dict[str, Any]]:
    """One record a catalogue row. Raises UnknownNameError when ``like`` matches none."""
    from planner import tables

    rows = tables.rows("models", "catalogue.csv")
    known = [
        row
        for row in rows
        if like is None or like.lower() in f"{row['name']} {row['aliases']} {row['hub_id']}".lower()
    ]
    if not known:
        raise UnknownNameError("model", like or "", [row["name"] for row in rows])
    return [
        {
            "name": row["name"],
            "aliases": row["aliases"].split(),
            "task": row["task"],
            "modality": row["modality"],
            "parameters": int(row["parameters"]) if row["parameters"] else None,
            "max_length": int(row["max_length"]) if row["max_length"] else None,
            "license": row["license"] or None,
        }
        for row in known
    ]


def model_table(known: Sequence[dict[str, Any]]) -> Table:
    rows = (
        (
            m["name"],
            DASH if m["parameters"] is None else count_text(m["parameters"]),
            m["task"].replace("_", " "),
            DASH if m["max_length"] is None else f"{m['max_length']:,}",
            m["license"] or DASH,
        )
        for m in known
    )
    return Table(("Model", "Parameters", "Task", "Longest input", "Licence"), tuple(rows))
