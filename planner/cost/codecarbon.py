"""What codecarbon would report for the same run, to stand beside our figure.

Its method (codecarbon 3.3.2; docs.codecarbon.io, methodology): the GPUs' measured power; a
processor that it cannot measure at half of its TDP, 85 W where the processor is not in its list;
memory by the number of its modules, 5 W each and less beyond four; no overhead of the data centre
(PUE 1.0); the intensity of the country, or of the cloud's region. Constants are the rows of
``profiles/energy/codecarbon.csv``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from planner import tables
from planner.figures import Estimate

WATTS_PER_KW = 1000.0
GRAMS_PER_KG = 1000.0
_MODULE_SIZES_GB = (128, 64, 32, 16, 8, 4)
#: Sizes of memory up to which a row gives the number of modules.
_FEW_MODULES_GB = (2, 16, 64, 128)


@dataclass(frozen=True)
class CodecarbonFigure:
    """``kwh`` and ``co2_kg`` as codecarbon would print them; ``method`` says in a sentence what
    they count."""

    kwh: Estimate
    co2_kg: Estimate
    method: str


def codecarbon_figure(
    gpu_watts: Estimate,
    wall_hours: Estimate,
    *,
    gpus: int,
    grams_per_kwh: float,
    machines: int = 1,
    ram_gib: float | None = None,
) -> CodecarbonFigure:
    """The figure for a run of ``wall_hours`` on ``gpus`` devices of ``gpu_watts`` each. ``ram_gib``
    is the memory of one machine; None leaves memory out, and the method says so."""
    processor = constant("cpu_tdp_watts") * constant("cpu_load_share")
    memory = None if ram_gib is None else ram_watts(ram_gib)
    host = machines * (processor + (memory or 0.0))
    watts = gpu_watts.scale(gpus) + Estimate.exact(host)
    kwh = (wall_hours * watts).scale(constant("pue") / WATTS_PER_KW)
    counted_memory = (
        "memory left out, its size is unknown" if memory is None else f"memory {memory:.0f} W"
    )
    method = (
        f"as codecarbon 3.3.2: GPUs {gpu_watts.p50:.0f} W each, processor {processor:g} W (its "
        f"default), {counted_memory}; PUE {constant('pue'):g}; "
        f"{grams_per_kwh:.0f} g CO2e/kWh"
    )
    return CodecarbonFigure(kwh, kwh.scale(grams_per_kwh / GRAMS_PER_KG), method)


def ram_watts(ram_gb: float) -> float:
    """Watts of an x86 machine's memory by codecarbon's count of modules."""
    modules, each = memory_modules(ram_gb), constant("ram_watts_per_dimm")
    parts = (
        (4, 1.0),
        (4, constant("ram_factor_dimms_5_to_8")),
        (8, constant("ram_factor_dimms_9_to_16")),
        (math.inf, constant("ram_factor_dimms_above_16")),
    )
    watts, left = 0.0, modules
    for room, factor in parts:
        taken = min(left, room)
        watts, left = watts + taken * factor * each, left - taken
    return max(constant("ram_least_dimms") * each, watts)


def memory_modules(ram_gb: float) -> int:
    """How many modules codecarbon supposes in a machine with this much memory."""
    for limit in _FEW_MODULES_GB:
        if ram_gb <= limit:
            return int(constant(f"ram_dimms_to_{limit}_gb"))
    fewest = constant(f"ram_dimms_to_{_FEW_MODULES_GB[-1]}_gb")
    size = next(size for size in _MODULE_SIZES_GB if size <= ram_gb / fewest)
    return min(int(constant("ram_most_dimms")), math.ceil(ram_gb / size))


def constant(parameter: str) -> float:
    """A row of ``profiles/energy/codecarbon.csv``."""
    return next(
        float(row["value"])
        for row in tables.rows("energy", "codecarbon.csv")
        if row["parameter"] == parameter
    )
