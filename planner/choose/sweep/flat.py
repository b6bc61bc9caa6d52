"""Figures of one option as a flat row: a column a figure, its unit in the name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.units import gib

Row = dict[str, str | float | bool | None]
POINTS = ("p10", "p50", "p90")


def figures(option: Mapping[str, Any]) -> Row:
    """Every key is there for every option, None where it has no such figure."""
    memory, step = option.get("memory") or {}, option.get("step") or {}
    run, cost = option.get("run") or {}, option.get("cost") or {}
    return {
        "fits": option.get("fits"),
        "basis": option.get("basis"),
        **_figure("hours", run.get("wall_hours")),
        **_figure("gpu_hours", run.get("gpu_hours")),
        **_figure("usd", cost.get("usd")),
        **_figure("memory_gib", _in_gib(memory.get("device_used_bytes"))),
        "gpu_memory_gib": _gib(memory.get("device_total_bytes")),
        "chance_out_of_memory": memory.get("chance_out_of_memory"),
        "steps": run.get("steps"),
        "epochs": run.get("epochs"),
        "micro_batch": step.get("micro_batch_size"),
        "accumulation": step.get("gradient_accumulation"),
        **_figure("step_seconds", step.get("seconds")),
        "tokens_per_second": step.get("tokens_per_second"),
        "samples_per_second": step.get("samples_per_second"),
        **_figure("energy_kwh", option.get("energy_kwh")),
        **_figure("co2_kg", option.get("co2_kg")),
        "usd_per_gpu_hour": cost.get("usd_per_gpu_hour"),
        "price_date": cost.get("price_date"),
    }


def _figure(name: str, figure: Mapping[str, float] | None) -> Row:
    return {f"{name}_{point}": (figure or {}).get(point) for point in POINTS}


def _in_gib(figure: Mapping[str, float] | None) -> dict[str, float] | None:
    return None if figure is None else {point: gib(value) for point, value in figure.items()}


def _gib(size_bytes: float | None) -> float | None:
    return None if size_bytes is None else gib(size_bytes)
