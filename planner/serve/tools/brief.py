"""An answer's document in brief: what a reader decides by, figures as they stand there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: Lines that are passed on, of each sort.
MOST_LINES, MOST_WAYS = 6, 8
Json = dict[str, Any]


def estimate(document: Mapping[str, Any]) -> Json:
    """Of ``planner estimate``: the recommendation and every option in a few figures."""
    return {
        "model": document["model"]["name"],
        "data": _data(document),
        "recommended": document["recommended"],
        "options": [option(one) for one in document["options"]],
        "warnings": _warnings(document),
        "notes": _notes(document),
    }


def option(one: Mapping[str, Any]) -> Json:
    """Costs in USD and hours with their range (p10, p50, p90), memory in bytes; None where it is
    not known."""
    memory, cost, run, training = (
        one.get(name) or {} for name in ("memory", "cost", "run", "training")
    )
    return {
        "strategy": one["strategy"],
        "variant": one.get("variant"),
        "gpu": one.get("gpu"),
        "gpus": one.get("gpus"),
        "provider": one.get("provider"),
        "fits": one.get("fits"),
        "usd": cost.get("usd"),
        "usd_per_gpu_hour": cost.get("usd_per_gpu_hour"),
        "price_date": cost.get("price_date"),
        "wall_hours": run.get("wall_hours"),
        "gpu_hours": run.get("gpu_hours"),
        "memory_bytes": memory.get("device_used_bytes"),
        "gpu_memory_bytes": memory.get("device_total_bytes"),
        "global_batch": training.get("global_batch_size"),
        "epochs": run.get("epochs"),
        "limits": one.get("limits"),
        "fixes": list(one.get("fixes") or [])[:3],
    }


def choose(document: Mapping[str, Any]) -> Json:
    """Of ``planner choose``: what to rent, the cheapest way of each strategy, the front."""
    front = document.get("front") or {}
    return {
        "recommended": _way(document["recommended"]),
        "cheapest": _way(document.get("cheapest")),
        "strategies": [
            {**one, "way": _way(one.get("way"))} if "way" in one else dict(one)
            for one in document["strategies"]
        ],
        "front": [_way(one) for one in front.get("ways", [])[:MOST_WAYS]],
        "stages": document.get("stages"),
        "warnings": _warnings(document),
        "notes": _notes(document),
    }


WAY = (
    "strategy",
    "variant",
    "gpu",
    "gpus",
    "provider",
    "region",
    "usd",
    "wall_hours",
    "gpu_hours",
    "usd_per_gpu_hour",
    "price_date",
    "price_stale",
    "memory_bytes",
    "device_total_bytes",
    "why",
)


def _way(way: Mapping[str, Any] | None) -> Json | None:
    return None if way is None else {name: way[name] for name in WAY if name in way}


def breakdown(document: Mapping[str, Any], strategy: str | None) -> Json:
    """Where time and memory of one option go: the asked strategy's, else the recommended one's,
    else the first."""
    one = _wanted(document["options"], strategy, document["recommended"])
    memory, step, run = (one.get(name) or {} for name in ("memory", "step", "run"))
    return {
        "strategy": one["strategy"],
        "variant": one.get("variant"),
        "gpu": one.get("gpu"),
        "memory_bytes_by_part": memory.get("breakdown"),
        "memory_peak": memory.get("peak"),
        "verdict": memory.get("verdict"),
        "step_seconds": step.get("seconds"),
        "step_seconds_by_kind": step.get("by_kind"),
        "bound_by": step.get("bound_by"),
        "model_flops_utilisation": step.get("mfu"),
        "run_hours_by_phase": run.get("breakdown_hours"),
        "run_hours_by_part": run.get("of_which_hours"),
        "usd_by_part": (one.get("cost") or {}).get("breakdown"),
        "fixes": one.get("fixes"),
        "assumptions": list(one.get("assumptions") or [])[:MOST_LINES],
    }


def _wanted(
    options: Sequence[Mapping[str, Any]],
    strategy: str | None,
    recommended: Mapping[str, Any] | None,
) -> Mapping[str, Any]:
    name = strategy or (recommended or {}).get("strategy")
    variant = None if recommended is None else recommended.get("variant")
    alike = [one for one in options if one["strategy"] == name]
    same = [one for one in alike if one.get("variant") == variant]
    return (same or alike or list(options))[0]


def _data(document: Mapping[str, Any]) -> Json:
    data = document["dataset"]
    lengths = data.get("lengths") or {}
    return {"samples": data["samples"], "mean_length": lengths.get("mean")}


def _warnings(document: Mapping[str, Any]) -> list[str]:
    lines = [line["text"] for line in document["first_lines"] if line["warning"]]
    return [*lines, *document.get("warnings", [])][:MOST_LINES]


def _notes(document: Mapping[str, Any]) -> list[str]:
    return [line["text"] for line in document["first_lines"] if not line["warning"]][:MOST_LINES]
