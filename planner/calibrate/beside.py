"""What was measured beside the datasheet's price of the same operations, family by family.

A curve of few sizes is stretched between them; the datasheet's price knows how work and traffic
grow with the sizes, but not how fast this device really is. Where both have been held against the
measurements, prices stand between them (``step_time/calibrated.py``).
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from planner.calibrate.priors import prior
from planner.devices.beside import Beside
from planner.devices.measured import measured_spec
from planner.devices.profile import DeviceProfile
from planner.errors import PlannerError
from planner.operations.cases import Case, from_dict
from planner.operations.registry import cost, terms
from planner.step_time.roofline import Efficiency


def beside_datasheet(
    profile: DeviceProfile, operations: Iterable[Mapping[str, Any]]
) -> dict[str, Beside]:
    """By family, of cases that are one term alone (records of a journal); empty for a device whose
    datasheet nobody has. Families of fewer sizes than ``beside_fewest`` are left out."""
    try:
        spec = measured_spec(profile)
        rates: dict[str, Efficiency] = {}
        ratios: dict[str, list[float]] = defaultdict(list)
        for record in operations:
            case = from_dict(record["case"])
            if case.precision not in rates:
                rates[case.precision] = Efficiency(spec, case.precision)
            found = _priced(case, rates[case.precision])
            if found is not None and found[1] > 0:
                ratios[found[0]].append(math.log(float(record["seconds"]) / found[1]))
    except PlannerError:
        return {}
    fewest = prior("beside_fewest")
    return {family: _of(logs) for family, logs in sorted(ratios.items()) if len(logs) >= fewest}


def _priced(case: Case, rates: Efficiency) -> tuple[str, float] | None:
    """(family, the datasheet's seconds) of a case that is one term."""
    work = cost(case.signature, case.dims)
    moved = float(work.read_bytes + work.write_bytes)
    found = terms(case.call, float(work.flops), moved, case.precision)
    if len(found) != 1:
        return None
    return found[0].family, rates.one(case.signature, case.dims, float(work.flops), moved)


def _of(logs: list[float]) -> Beside:
    """The spread is drawn towards what is believed of a datasheet's price, and holds for a size
    that the middle does not know."""
    middle, n = statistics.median(logs), len(logs)
    believed = prior("beside_believed_rows")
    squares = sum((log - middle) ** 2 for log in logs) * (1 + 1 / n)
    variance = (squares + believed * prior("beside_believed_spread") ** 2) / (n - 1 + believed)
    return Beside(middle, math.sqrt(variance), n)
