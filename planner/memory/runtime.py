"""Memory that the runtime takes besides the tensors: the driver's context and the matrix library's
workspaces.

The context is outside the caching allocator (it counts as used, not as reserved); the workspaces
come from the allocator and count as allocated. Facts in ``profiles/gpus/runtime_memory.csv``.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import NamedTuple

from planner import tables
from planner.devices.specification import DeviceSpec
from planner.errors import ProfileError, QuestionError
from planner.figures import Estimate
from planner.units import MIB

TABLE = ("gpus", "runtime_memory.csv")
UNITS = {"MiB": MIB, "B": 1, "count": 1}


@dataclass(frozen=True)
class RuntimeMemory:
    """``context_bytes`` per process; ``workspaces`` workspaces of ``cublas_workspace_bytes`` each,
    and as many of ``cublaslt_workspace_bytes`` where the two are not shared (0 where they are)."""

    context_bytes: Estimate
    cublas_workspace_bytes: int
    cublaslt_workspace_bytes: int
    workspaces: int
    source: str

    @property
    def workspace(self) -> tuple[int, ...]:
        """The sizes that the allocator hands out, in order: one at the first forward product, one
        at the first backward."""
        return (self.cublas_workspace_bytes + self.cublaslt_workspace_bytes,) * self.workspaces


def runtime_memory(spec: DeviceSpec) -> RuntimeMemory:
    """What the runtime of this device takes; a calibrated device's context is the measured one.
    Raises QuestionError for a device whose runtime has no rows."""
    if spec.vendor not in _vendors():
        raise QuestionError(
            "its runtime's memory is not modelled",
            where=spec.name,
            mend="Choose an NVIDIA or AMD GPU, or calibrate it",
        )
    own = _Own(spec.vendor, spec.compute_capability or "", spec.key)
    context, context_source = _measured_context(spec) or _context(own)
    cublas, cublaslt, count = _workspaces(own)
    source = "; ".join(dict.fromkeys([context_source, cublas["source"], cublaslt["source"]]))
    return RuntimeMemory(context, _value(cublas), _value(cublaslt), _value(count), source)


class _Own(NamedTuple):
    """What of a device its rows are found by."""

    vendor: str
    capability: str
    key: str


@cache
def _vendors() -> frozenset[str]:
    return frozenset(row["vendor"] for row in _rows("context"))


@lru_cache(maxsize=1024)
def _workspaces(own: _Own) -> tuple[dict[str, str], ...]:
    """The rows of one device: of a workspace, of cuBLASLt's, and how many of them there are."""
    wanted = "cublas_workspace", "cublaslt_workspace", "workspaces"
    return tuple(_single(own, quantity) for quantity in wanted)


def _measured_context(spec: DeviceSpec) -> tuple[Estimate, str] | None:
    """The profile's context, with the room that more kernels of a real run take: it grows as
    modules are loaded."""
    seen = spec.calibration.facts.get("context_bytes") if spec.calibration is not None else None
    # of a processor: a process with torch alone, while the row holds the model's library too
    if not seen or spec.one_clock:
        return None
    growth = _ratio("context_growth")
    return Estimate(seen, seen * growth, seen * growth**2), "calibration of this device"


@lru_cache(maxsize=1024)
def _context(device: _Own) -> tuple[Estimate, str]:
    """Median of the measurements on this generation, else of every current one; the spread is that
    of all of them."""
    rows = [
        row for row in _rows("context") if row["vendor"] == device.vendor and row["use"] == "yes"
    ]
    if not rows:
        raise ProfileError(f"no context size for {device.vendor}", where="gpus/runtime_memory.csv")
    own = [row for row in rows if row["compute_capability_from"] and _covers(row, device)] or rows
    middle, every = statistics.median(map(_value, own)), [_value(row) for row in rows]
    if len(rows) == 1:
        # one measurement, and libraries differ
        low, high = _ratio("context_lowest"), _ratio("context_highest")
        return Estimate(middle * low, middle, middle * high), own[0]["source"]
    spread = Estimate(min(*every, middle), middle, max(*every, middle))
    return spread, "; ".join(dict.fromkeys(row["source"] for row in own))


def _ratio(quantity: str) -> float:
    """A factor on the context of every device. Raises ProfileError."""
    for row in _rows(quantity):
        return float(row["value"])
    raise ProfileError(f"no row of {quantity}", where="gpus/runtime_memory.csv")


def _single(device: _Own, quantity: str) -> dict[str, str]:
    rows = [
        row
        for row in _rows(quantity)
        if row["vendor"] in ("", device.vendor) and _covers(row, device)
    ]
    if len(rows) != 1:
        raise ProfileError(
            f"{len(rows)} rows of {quantity} for {device.key}, wanted one",
            where="gpus/runtime_memory.csv",
        )
    return rows[0]


def _covers(row: dict[str, str], device: _Own) -> bool:
    low, high = row["compute_capability_from"], row["compute_capability_to"]
    if not low:
        return True
    return _ordered(low) <= _ordered(device.capability) <= _ordered(high)


def _ordered(capability: str) -> tuple[int, ...]:
    """ "10.3" → (10, 3); "gfx90a" → (0x90a,): the generations of one vendor in their order."""
    if capability.startswith("gfx"):
        return (int(capability[3:], 16),)
    return tuple(int(part) for part in capability.split(".")) if capability else ()


def _value(row: dict[str, str]) -> int:
    return round(float(row["value"]) * UNITS[row["unit"]])


def _rows(quantity: str) -> list[dict[str, str]]:
    return [row for row in tables.rows(*TABLE) if row["kind"] == quantity]
