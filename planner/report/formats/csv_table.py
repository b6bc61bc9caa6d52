"""Runs, and the options of an answer, as tables for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from typing import Any

from planner.ledger import export
from planner.ledger.record import RunRecord
from planner.report.formats.registry import Format
from planner.report.views.budget.options import chosen
from planner.report.words import clean
from planner.units import gib

PERCENTILES = ("p10", "p50", "p90")
#: Limits of a question that an option keeps or breaks.
LIMITS = ("max_usd", "max_hours", "deadline")


def render(records: Iterable[RunRecord]) -> str:
    """A row a run."""
    return export.as_csv(records)


def options(answer: Mapping[str, Any]) -> str:
    """A row an option, in the document's order; columns are the same for every answer. A blank is
    unknown, or of no meaning for this option; a text that a spreadsheet would run as a formula gets
    an apostrophe before it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    recommended = chosen(answer)
    for option in answer["options"]:
        cells = [read(option) for read in _COLUMNS.values()]
        cells[_AT] = option is recommended
        writer.writerow([_cell(value) for value in cells])
    return text.getvalue()


def _cell(value: Any) -> Any:
    return export.harmless(clean(value).strip() if isinstance(value, str) else value)


def _at(*path: str) -> Callable[[Mapping[str, Any]], Any]:
    """What lies at a path of the option; None where a part of it is missing."""
    return lambda option: reduce(
        lambda part, key: part.get(key) if isinstance(part, Mapping) else None, path, option
    )


def _figure(title: str, *path: str) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
    return {f"{title}_{each}": _at(*path, each) for each in PERCENTILES}


def _gib(*path: str) -> Callable[[Mapping[str, Any]], Any]:
    read = _at(*path)

    def in_gib(option: Mapping[str, Any]) -> float | None:
        size = read(option)
        return None if size is None else gib(size)

    return in_gib


def _kept(limit: str) -> Callable[[Mapping[str, Any]], Any]:
    def kept(option: Mapping[str, Any]) -> bool | None:
        found = (each for each in option.get("limits") or () if each["limit"] == limit)
        return next((each["kept"] for each in found), None)

    return kept


#: Name → where it stands in an option. Units end the names; a column may be added, none is renamed.
_COLUMNS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "strategy": _at("strategy"),
    "variant": _at("variant"),
    "recommended": lambda option: None,
    "gpu": _at("gpu"),
    "gpus": _at("gpus"),
    "provider": _at("provider"),
    "region": _at("cost", "offer", "region"),
    "instance_type": _at("cost", "offer", "instance_type"),
    "spot": _at("cost", "offer", "spot"),
    "fits": _at("fits"),
    "chance_out_of_memory": _at("memory", "chance_out_of_memory"),
    "basis": _at("basis"),
    **_figure("usd", "cost", "usd"),
    "usd_per_gpu_hour": _at("cost", "usd_per_gpu_hour"),
    "price_date": _at("cost", "price_date"),
    "price_age_days": _at("cost", "offer", "age_days"),
    "price_source": _at("cost", "price_source"),
    **{
        f"{part}_usd": _at("cost", "breakdown", part)
        for part in ("compute", "lost_work", "repeats", "data", "storage", "egress", "api")
    },
    **_figure("training_and_requests_usd", "cost", "project_usd"),
    "usd_per_request": _at("cost", "usd_per_request"),
    "project_low_usd": _at("cost", "project_range_usd", "low"),
    "project_high_usd": _at("cost", "project_range_usd", "high"),
    **_figure("wall_hours", "run", "wall_hours"),
    **_figure("gpu_hours", "run", "gpu_hours"),
    **{
        f"{phase}_hours": _at("run", "breakdown_hours", phase)
        for phase in (
            *("preparation", "start_up", "training"),
            *("evaluation", "saving", "interruptions", "stragglers"),
        )
    },
    **{f"memory_gib_{each}": _gib("memory", "device_used_bytes", each) for each in PERCENTILES},
    "gpu_memory_gib": _gib("memory", "device_total_bytes"),
    "epochs": _at("run", "epochs"),
    "steps": _at("run", "steps"),
    "micro_batch": _at("step", "micro_batch_size"),
    "accumulation": _at("step", "gradient_accumulation"),
    "global_batch": _at("training", "global_batch_size"),
    "precision": _at("training", "precision"),
    "optimizer": _at("training", "optimizer"),
    "gradient_checkpointing": _at("training", "gradient_checkpointing"),
    "tokens_per_second": _at("step", "tokens_per_second"),
    "samples_per_second": _at("step", "samples_per_second"),
    "mfu": _at("step", "mfu"),
    "parameters": _at("model", "total_params"),
    "trained_parameters": _at("model", "trainable_params"),
    **_figure("energy_kwh", "energy_kwh"),
    **_figure("co2_kg", "co2_kg"),
    **{f"{limit}_kept": _kept(limit) for limit in LIMITS},
}
_AT = list(_COLUMNS).index("recommended")

FORMATS = (
    Format("runs", ".csv", render, order=10),
    Format("answer", ".csv", options, order=28),
)
