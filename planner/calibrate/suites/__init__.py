"""The micro-benchmarks: which operations at which sizes a calibration times. Each operation kind
declares its own suite (``planner/operations/kinds``); here they are cut to the device and put in
order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.calibrate.suites.order import ordered
from planner.calibrate.suites.tier import Tier
from planner.operations.cases import Case
from planner.operations.registry import kinds

if TYPE_CHECKING:
    from planner.calibrate.operations.backends import Backend


def suite(backend: Backend, compiled: bool = False) -> list[Case]:
    """All cases worth timing on a device, most telling first; each under 50 ms and within its free
    memory, by a rough guess.

    ``compiled`` adds none: what torch.compile saves is measured as facts (``measure_facts``).
    """
    tier = Tier(backend.kind, tuple(backend.dtypes()), backend.free_bytes())
    declared = (kind.suite for kind in kinds().values() if kind.suite is not None)
    return ordered((case for cases in declared for case in cases(tier)), tier)
