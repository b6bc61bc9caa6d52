"""Energy and carbon of a run: board power × a measured load factor × the data centre's overhead ×
the grid's intensity.

Board power only: host processors, memory and network are not counted, and no source for their share
is held.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from functools import cache, lru_cache

from planner import tables
from planner.devices.specification import DeviceSpec
from planner.errors import ProfileError
from planner.figures import Estimate
from planner.units import JOULES_PER_KWH, SECONDS_PER_HOUR

GRAMS_PER_KG = 1000.0
FLEETS = {"oci": "oracle"}  # one company, two names in the tables
ABROAD = "codecarbon"  # the table whose intensities codecarbon itself uses


@dataclass(frozen=True)
class Grid:
    """Grams of CO2e a kWh: where, of which year, by whose account; ``assumption`` where the place
    is not known."""

    grams_co2e_per_kwh: Estimate
    place: str
    year: str
    source: str
    assumption: str | None = None


@dataclass(frozen=True)
class Energy:
    """``kwh`` is drawn at the meter (PUE included where known); None where the board power or the
    grid has no source."""

    kwh: Estimate | None
    co2_kg: Estimate | None
    sources: tuple[str, ...]
    assumptions: tuple[str, ...]
    warnings: tuple[str, ...]
    grid: Grid | None = None
    watts: Estimate | None = None  # of one board


def energy(
    spec: DeviceSpec,
    gpu_hours: Estimate,
    *,
    provider: str | None = None,
    region: str | None = None,
    watts: Estimate | None = None,
) -> Energy:
    """Energy of ``gpu_hours`` device-hours (over all devices). ``region`` is a cloud region, a
    country's ISO code or a zone; ``watts``: the mean power of one device in such a step where it
    was measured, else its TDP times a load factor."""
    if spec.tdp_watts is None and watts is None:
        return Energy(
            kwh=None,
            co2_kg=None,
            sources=(),
            assumptions=(),
            warnings=(f"no energy figure: the board power of {spec.name} is not published",),
        )
    power, load_source, boards = board_watts(spec, watts)
    pue, pue_source, pue_assumption = power_overhead(provider)
    kwh = (gpu_hours.scale(SECONDS_PER_HOUR * pue) * power).scale(1 / JOULES_PER_KWH)
    grid = grid_at(provider, region)
    return Energy(
        kwh=kwh,
        co2_kg=(kwh * grid.grams_co2e_per_kwh).scale(1 / GRAMS_PER_KG),
        sources=tuple(filter(None, (load_source, pue_source, grid.source))),
        assumptions=tuple(filter(None, (boards, pue_assumption, grid.assumption))),
        warnings=(),
        grid=grid,
        watts=power,
    )


def board_watts(spec: DeviceSpec, watts: Estimate | None) -> tuple[Estimate, str, str]:
    """(watts of one device, their source, the sentence for the assumptions). Raises
    ProfileError for a device without a TDP where no ``watts`` are given."""
    if watts is not None:
        return (
            watts,
            "power measured while calibrating this device",
            f"energy counts the device at {watts.p50:.0f} W, as measured, not the host",
        )
    if spec.tdp_watts is None:
        raise ProfileError("its board power is not published", where=spec.name)
    load, source = load_factor()
    return (
        load.scale(spec.tdp_watts),
        source,
        f"energy counts the GPUs' boards at {load.p50:.0%} of {spec.tdp_watts:.0f} W, not the host",
    )


@cache
def load_factor() -> tuple[Estimate, str]:
    """Average power over the power limit of measured training workloads: their median and spread,
    and the source."""
    rows = tables.rows("energy", "load_factors.csv")
    factors = [float(row["load_factor"]) for row in rows]
    deciles = statistics.quantiles(factors, n=10, method="inclusive")
    return Estimate(deciles[0], statistics.median(factors), min(1.0, deciles[-1])), "; ".join(
        dict.fromkeys(row["source"] for row in rows)
    )


def grid_intensity(
    provider: str | None = None, region: str | None = None
) -> tuple[float, str, str | None]:
    """Grams of CO2e per kWh, its source, and an assumption where the place is not known: then the
    world's average."""
    grid = grid_at(provider, region)
    return grid.grams_co2e_per_kwh.p50, grid.source, grid.assumption


@lru_cache(maxsize=1024)
def grid_at(provider: str | None = None, region: str | None = None, *, of: str = "") -> Grid:
    """The grid of a place, or the world's average with the sentence that says so. ``of``: only
    tables whose source starts so."""
    rows = [
        row
        for row in tables.rows("carbon", "carbon.csv")
        if row["source"].startswith(of) or row["scope"] == "default"
    ]
    known = region is not None and region not in ("", "any")
    chosen = _row_of(rows, provider, region.lower()) if region is not None and known else None
    if chosen:
        return _grid(chosen, None)
    world = next(row for row in rows if row["scope"] == "default")
    place = f"region {region!r} is not in the table" if known else "the region is not known"
    return _grid(
        world,
        f"{place}: the grid is taken at the {world['name']}, "
        f"{float(world['grams_co2e_per_kwh']):.0f} g CO2e/kWh ({world['year']})",
    )


def _row_of(rows: list[dict[str, str]], provider: str | None, wanted: str) -> dict[str, str] | None:
    places = [row for row in rows if row["code"].lower() == wanted and row["grams_co2e_per_kwh"]]
    own = [
        row
        for row in places
        if row["scope"] == "cloud_region"
        and row["provider"] == FLEETS.get(provider or "", provider)
    ]
    return (
        _newest(own)
        or _newest([row for row in places if row["scope"] != "cloud_region"])
        or _newest(places)
    )


def _grid(row: dict[str, str], assumption: str | None) -> Grid:
    return Grid(
        Estimate.with_spread(float(row["grams_co2e_per_kwh"]), intensity_spread()),
        row["name"] or row["code"],
        row["year"],
        row["source"],
        assumption,
    )


@cache
def intensity_spread() -> float:
    """How far two accounts of one grid lie apart: the root mean square of their log ratios where
    the table holds both, spread over the two. Annual averages; an hour of the day may be anything.
    """
    places: dict[tuple[str, str], list[float]] = {}
    for row in tables.rows("carbon", "carbon.csv"):
        if (
            row["scope"] == "cloud_region"
            and row["grams_co2e_per_kwh"]
            and float(row["grams_co2e_per_kwh"]) > 0
        ):
            places.setdefault((row["provider"], row["code"]), []).append(
                float(row["grams_co2e_per_kwh"])
            )
    ratios = [math.log(max(values) / min(values)) for values in places.values() if len(values) > 1]
    return math.sqrt(statistics.fmean(ratio**2 for ratio in ratios) / 2) if ratios else 0.0


def _newest(rows: list[dict[str, str]]) -> dict[str, str] | None:
    return max(rows, key=lambda row: row["year"]) if rows else None


@lru_cache(maxsize=256)
def power_overhead(provider: str | None) -> tuple[float, str | None, str | None]:
    """(PUE, its source, an assumption where the provider publishes none: then the median of those
    who do)."""
    rows = tables.rows("carbon", "pue.csv")
    for row in rows:
        if row["provider"] == FLEETS.get(provider or "", provider):
            return float(row["pue"]), row["source"], None
    middle = statistics.median(float(row["pue"]) for row in rows)
    return (
        middle,
        rows[0]["source"],
        f"no power overhead is published for this place: PUE {middle:.2f}, the median of the "
        "large clouds",
    )
