"""The micro-benchmarks: which operations at which sizes a calibration times, one file a group of
kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.calibrate.suites import attention, convolutions, products, rows, streams, updates
from planner.calibrate.suites.order import ordered
from planner.calibrate.suites.tier import Tier
from planner.devices.cases import Case

if TYPE_CHECKING:
    from planner.calibrate.operations.backends import Backend

_GROUPS = (products, attention, convolutions, rows, streams, updates)


def suite(backend: Backend, compiled: bool = False) -> list[Case]:
    """All cases worth timing on a device, most telling first; each under 50 ms and within its free
    memory, by a rough guess.

    ``compiled`` adds none: what torch.compile saves is measured as facts (``measure_facts``).
    """
    tier = Tier(backend.kind, tuple(backend.dtypes()), backend.free_bytes())
    return ordered((one for group in _GROUPS for one in group.cases(tier)), tier)
