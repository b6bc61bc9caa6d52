"""The figures of an answer that are compared: medians of the recommended option, and of each
strategy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.answer.limits import recommended_option

Answer = Mapping[str, Any]
#: What is compared, each in its own unit.
FIGURES = ("usd", "wall_hours", "gpu_hours", "device_used_bytes")


def of_option(option: Answer | None) -> dict[str, Any] | None:
    """None where there is no option; a figure that is not known is None."""
    if option is None:
        return None
    return {
        "strategy": option["strategy"],
        "variant": option.get("variant"),
        "gpu": option.get("gpu"),
        "gpus": option.get("gpus"),
        "provider": option.get("provider"),
        "fits": option.get("fits"),
        "usd": _usd(option),
        "wall_hours": _median(option, "run", "wall_hours"),
        "gpu_hours": _median(option, "run", "gpu_hours"),
        "device_used_bytes": _median(option, "memory", "device_used_bytes"),
    }


def recommended(answer: Answer) -> dict[str, Any] | None:
    return of_option(recommended_option(answer))


def by_strategy(answer: Answer) -> dict[str, dict[str, Any]]:
    """Options by name: ``feature_extraction (cached features)`` where a strategy has several."""
    found: dict[str, dict[str, Any]] = {}
    for option in answer["options"]:
        variant = option.get("variant")
        name = f"{option['strategy']} ({variant})" if variant else option["strategy"]
        figures = of_option(option)
        if figures is not None:
            found.setdefault(name, figures)
    return found


def change(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> dict[str, Any]:
    """After less before; None where either is not known."""
    if before is None or after is None:
        return dict.fromkeys(FIGURES)
    return {
        name: None if before[name] is None or after[name] is None else after[name] - before[name]
        for name in FIGURES
    }


def _usd(option: Answer) -> float | None:
    """The whole project where requests are asked for, else the training: as limits count it."""
    cost = option.get("cost")
    return None if not cost else (cost.get("project_usd") or cost["usd"])["p50"]


def _median(option: Answer, part: str, name: str) -> float | None:
    return option[part][name]["p50"] if option.get(part) else None
