"""The grid behind an option's carbon, and codecarbon's figure for the same run beside ours."""

from __future__ import annotations

from typing import Any

from planner.cost.codecarbon import CodecarbonFigure, codecarbon_figure
from planner.cost.energy import ABROAD, Grid, grid_at
from planner.figures import Estimate
from planner.plan.billing import runs_in_all
from planner.plan.options import Option
from planner.question import Question


def carbon_document(question: Question, option: Option) -> dict[str, Any]:
    """``grid`` and ``codecarbon`` of an option; null where the device's power is not known."""
    grid, watts = option.energy.grid, option.energy.watts
    if grid is None or watts is None:
        return {"grid": None, "codecarbon": None}
    codecarbon = _codecarbon(question, option, grid, watts)
    return {
        "grid": {
            "grams_co2e_per_kwh": grid.grams_co2e_per_kwh.as_dict(),
            "place": grid.place,
            "year": grid.year or None,
            "source": grid.source,
        },
        "codecarbon": {
            "kwh": codecarbon.kwh.as_dict(),
            "co2_kg": codecarbon.co2_kg.as_dict(),
            "method": codecarbon.method,
        },
    }


def _codecarbon(
    question: Question, option: Option, ours: Grid, watts: Estimate
) -> CodecarbonFigure:
    """With the intensity of codecarbon's own tables where they hold the place, else with ours."""
    offer = option.rented.offer
    region = question.region or (offer.region if offer else None)
    theirs = grid_at(offer.provider if offer else None, region, of=ABROAD)
    grid = ours if theirs.assumption and not ours.assumption else theirs
    return codecarbon_figure(
        watts,
        option.run.wall_hours * runs_in_all(question),
        gpus=option.rented.parallel.devices,
        grams_per_kwh=grid.grams_co2e_per_kwh.p50,
        machines=offer.instances_for(option.rented.parallel.devices) if offer else 1,
        ram_gib=offer.ram_gib if offer else None,
    )
