"""The first screen where data alone was given: the models that people take for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.report.views.option import name, short_device
from planner.report.views.summary.columns import Columns, dollars, gib, hours, names, numbers
from planner.report.views.summary.parts import (
    HELPS,
    Grid,
    Paragraph,
    Part,
    Screen,
    decisive_parts,
    rest_words,
)
from planner.report.views.table import DASH
from planner.report.words import clean, count_text

Json = Mapping[str, Any]
MORE = "how each is run"


def screen(document: Json, *, brief: bool = False) -> Screen:
    """One row a model, each the way that is advised for it."""
    lines = document["first_lines"]
    told = [line for line in lines if not line["warning"] and line["topic"] in ("model", "data")]
    parts: list[Part] = [Paragraph(clean(line["text"])) for line in told[:2]]
    parts.append(Grid(_table(document["models"])))
    parts += [
        Paragraph(f"{clean(one['model'])}: {clean(one['why_not'])}", "Not:", keep=HELPS, counts=1)
        for one in document["models"]
        if one["why_not"]
    ]
    decisive, hidden = decisive_parts(document, None)
    if brief:
        parts += [part for part in decisive if not part.keep]
        return Screen(parts, lambda _: "")
    return Screen([*parts, *decisive], rest_words(hidden, 0, MORE))


def _table(models: list[Json]) -> Columns:
    priced = [one for one in models if one["option"]]
    options = [one["option"] for one in priced]
    memory = [(x.get("memory") or {}).get("device_used_bytes", {}).get("p50") for x in options]
    sizes = [count_text(one["parameters"]) if one["parameters"] else DASH for one in priced]
    return Columns(
        (
            names("Model", [clean(one["model"]) for one in priced]),
            names("Size", sizes, drop=45),
            names("Strategy", [name(option) for option in options]),
            names("GPU", [short_device(option) for option in options], drop=20),
            gib("Memory", memory, drop=50),
            *hours("Time", [x["run"] and x["run"]["wall_hours"] for x in options], drop_range=60),
            *dollars("Cost", [(x["cost"] or {}).get("usd") for x in options], drop_range=40),
            numbers("Recipes", [f"{one['recipes']:,}" for one in priced], drop=70),
        )
    )
