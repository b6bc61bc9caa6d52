"""Energy and carbon of a run: board power × a measured load factor × the data centre's overhead × the grid's intensity.

Board power only: host processors, memory and network are not counted, and no source for their share is held.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from planner import profiles
from planner.devices.specification import DeviceSpec
from planner.figures import Estimate
from planner.units import JOULES_PER_KWH, SECONDS_PER_HOUR

GRAMS_PER_KG = 1000.0
FLEETS = {"oci": "oracle"}  # one company, two names in the tables


@dataclass(frozen=True)
class Energy:
    """``kwh`` is drawn at the meter (PUE included where known); None where the board power or the grid has no source."""

    kwh: Estimate | None
    co2_kg: Estimate | None
    sources: tuple[str, ...]
    assumptions: tuple[str, ...]
    warnings: tuple[str, ...]


def energy(spec: DeviceSpec, gpu_hours: Estimate, *, provider: str | None = None, region: str | None = None, watts: Estimate | None = None) -> Energy:
    """Energy of ``gpu_hours`` device-hours (over all devices). ``region`` is a cloud region, a country's ISO code or a zone;
    ``watts``: the mean power of one device in such a step where it was measured, else its TDP times a load factor."""
    if spec.tdp_watts is None and watts is None:
        return Energy(None, None, (), (), (f"no energy figure: the board power of {spec.name} is not published",))
    power, load_source, boards = _power(spec, watts)
    pue, pue_source, pue_assumption = _pue(provider)
    joules = gpu_hours.scale(SECONDS_PER_HOUR * pue) * power
    kwh = joules.scale(1 / JOULES_PER_KWH)
    grams, grid_source, grid_assumption = grid_intensity(provider, region)
    return Energy(kwh, kwh.scale(grams / GRAMS_PER_KG), tuple(filter(None, (load_source, pue_source, grid_source))),
                  tuple(filter(None, (boards, pue_assumption, grid_assumption))), ())


def _power(spec: DeviceSpec, watts: Estimate | None) -> tuple[Estimate, str, str]:
    """(watts of one device, their source, the sentence for the assumptions)."""
    if watts is not None:
        return watts, "power measured while calibrating this device", f"energy counts the device at {watts.p50:.0f} W, as measured, not the host"
    load, source = load_factor()
    return load.scale(spec.tdp_watts), source, f"energy counts the GPUs' boards at {load.p50:.0%} of {spec.tdp_watts:.0f} W, not the host"


def load_factor() -> tuple[Estimate, str]:
    """Average power over the power limit of measured training workloads: their median and spread, and the source."""
    rows = profiles.rows("energy", "load_factors.csv")
    factors = [float(row["load_factor"]) for row in rows]
    deciles = statistics.quantiles(factors, n=10, method="inclusive")
    return Estimate(deciles[0], statistics.median(factors), min(1.0, deciles[-1])), "; ".join(dict.fromkeys(row["source"] for row in rows))


def grid_intensity(provider: str | None = None, region: str | None = None) -> tuple[float, str, str | None]:
    """Grams of CO2e per kWh, its source, and an assumption where the place is not known: then the world's average."""
    rows = profiles.rows("carbon", "carbon.csv")
    if region and region != "any":
        wanted = region.lower()
        places = [row for row in rows if row["code"].lower() == wanted and row["grams_co2e_per_kwh"]]
        own = [row for row in places if row["scope"] == "cloud_region" and row["provider"] == FLEETS.get(provider or "", provider)]
        chosen = _newest(own) or _newest([row for row in places if row["scope"] != "cloud_region"]) or _newest(places)
        if chosen:
            return float(chosen["grams_co2e_per_kwh"]), chosen["source"], None
    world = next(row for row in rows if row["scope"] == "default")
    grams = float(world["grams_co2e_per_kwh"])
    place = f"region {region!r} is not in the table" if region and region != "any" else "the region is not known"
    return grams, world["source"], f"{place}: the grid is taken at the {world['name']}, {grams:.0f} g CO2e/kWh ({world['year']})"


def _newest(rows: list[dict[str, str]]) -> dict[str, str] | None:
    return max(rows, key=lambda row: row["year"]) if rows else None


def _pue(provider: str | None) -> tuple[float, str | None, str | None]:
    for row in profiles.rows("carbon", "pue.csv"):
        if row["provider"] == FLEETS.get(provider or "", provider):
            return float(row["pue"]), row["source"], None
    rows = profiles.rows("carbon", "pue.csv")
    middle = statistics.median(float(row["pue"]) for row in rows)
    return middle, rows[0]["source"], f"no power overhead is published for this place: PUE {middle:.2f}, the median of the large clouds"
