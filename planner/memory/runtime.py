"""Memory that the runtime takes besides the tensors: the driver's context and the matrix library's
workspaces.

The context is outside the caching allocator (it counts as used, not as reserved); the workspaces
come from the allocator and count as allocated. Facts in ``profiles/gpus/runtime_memory.csv``.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

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
    if not any(row["vendor"] == spec.vendor for row in _rows("context")):
        raise QuestionError(
            "its runtime's memory is not modelled",
            where=spec.name,
            mend="Choose an NVIDIA or AMD GPU, or calibrate it",
        )
    context, context_source = _measured_context(spec) or _context(spec)
    cublas, cublaslt, count = (
        _single(spec, quantity)
        for quantity in ("cublas_workspace", "cublaslt_workspace", "workspaces")
    )
    source = "; ".join(dict.fromkeys([context_source, cublas["source"], cublaslt["source"]]))
    return RuntimeMemory(context, _value(cublas), _value(cublaslt), _value(count), source)


def _measured_context(spec: DeviceSpec) -> tuple[Estimate, str] | None:
    """The profile's context, with the room that more kernels of a real run take: it grows as
    modules are loaded."""
    seen = spec.calibration.facts.get("context_bytes") if spec.calibration is not None else None
    # of a processor: a process with torch alone, while the row holds the model's library too
    if not seen or spec.one_clock:
        return None
    growth = _ratio("context_growth")
    return Estimate(seen, seen * growth, seen * growth**2), "calibration of this device"


def _context(spec: DeviceSpec) -> tuple[Estimate, str]:
    """Median of the measurements on this generation, else of every current one; the spread is that
    of all of them."""
    rows = [row for row in _rows("context") if row["vendor"] == spec.vendor and row["use"] == "yes"]
    if not rows:
        raise ProfileError(f"no context size for {spec.vendor}", where="gpus/runtime_memory.csv")
    own = [row for row in rows if row["compute_capability_from"] and _covers(row, spec)] or rows
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


def _single(spec: DeviceSpec, quantity: str) -> dict[str, str]:
    rows = [
        row for row in _rows(quantity) if row["vendor"] in ("", spec.vendor) and _covers(row, spec)
    ]
    if len(rows) != 1:
        raise ProfileError(
            f"{len(rows)} rows of {quantity} for {spec.key}, wanted one",
            where="gpus/runtime_memory.csv",
        )
    return rows[0]


def _covers(row: dict[str, str], spec: DeviceSpec) -> bool:
    low, high = row["compute_capability_from"], row["compute_capability_to"]
    if not low:
        return True
    own = spec.compute_capability or ""
    return _ordered(low) <= _ordered(own) <= _ordered(high)


def _ordered(capability: str) -> tuple[int, ...]:
    """ "10.3" → (10, 3); "gfx90a" → (0x90a,): the generations of one vendor in their order."""
    if capability.startswith("gfx"):
        return (int(capability[3:], 16),)
    return tuple(int(part) for part in capability.split(".")) if capability else ()


def _value(row: dict[str, str]) -> int:
    return round(float(row["value"]) * UNITS[row["unit"]])


def _rows(quantity: str) -> list[dict[str, str]]:
    return [row for row in tables.rows(*TABLE) if row["kind"] == quantity]
