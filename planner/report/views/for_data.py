"""The models that people take for data, as a table. Words only: no figure is worked out here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.report.views.device import Section
from planner.report.views.option import fits, hours, memory, name, short_device, usd
from planner.report.views.table import DASH, Table
from planner.report.words import clean, count_text

HEADERS = ("Model", "Strategy", "GPU", "Fits", "Memory", "GPU time", "Cost", "Recipes")


def sections(document: Mapping[str, Any], *, brief: bool = False) -> list[Section]:
    """One row a model; then (not ``brief``) how each is run, and warnings."""
    rows = [_row(one) for one in document["models"]]
    found = [Section("Models that people take for this data", table=Table(HEADERS, tuple(rows)))]
    refused = [
        (clean(one["model"]), clean(one["why_not"])) for one in document["models"] if one["why_not"]
    ]
    if refused:
        found.append(Section("Not priced", pairs=tuple(refused)))
    if brief:
        return found
    runs = [
        (clean(one["model"]), clean("; ".join(one["lines"])))
        for one in document["models"]
        if one["lines"]
    ]
    found.append(Section("How each is run", pairs=tuple(runs)))
    if document["warnings"]:
        found.append(Section("Warnings", lines=tuple(map(clean, document["warnings"]))))
    return found


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    option = one["option"]
    size = f" ({count_text(one['parameters'])})" if one["parameters"] else ""
    recipes = f"{one['recipes']:,}"
    if option is None:
        return (clean(one["model"]) + size, *[DASH] * 6, recipes)
    spans = ["\n".join(filter(None, pair)) for pair in (hours(option), usd(option))]
    return (
        clean(one["model"]) + size,
        name(option),
        short_device(option),
        fits(option),
        memory(option),
        *spans,
        recipes,
    )
