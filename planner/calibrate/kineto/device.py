"""What a profile says of the device that ran it, and of its memory."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planner.calibrate.kineto.reading import Document
from planner.devices.lookup import resolve_device
from planner.devices.processors import local_processor
from planner.devices.specification import DeviceSpec
from planner.errors import PlannerError

Facts = Mapping[str, Any]
#: ``Device Type`` of the allocator's events (c10/core/DeviceType.h): a processor is 0.
_PROCESSOR = 0


@dataclass(frozen=True)
class MemorySeen:
    """Bytes at the fullest moment that the allocator's events tell of; ``reserved`` None where the
    allocator keeps nothing back."""

    allocated_bytes: int
    reserved_bytes: int | None
    events: int


def device_facts(document: Document, index: int | None) -> Facts:
    """As a backend would say them: ``kind``, ``name``, and what is known beside. ``name`` is empty
    where the profile does not tell."""
    if index is None:
        return _processor(document)
    properties = _properties(document, index)
    facts = named(str(properties.get("name") or ""))
    more = {
        "total_memory_bytes": _whole(properties.get("totalGlobalMem")),
        "sm_count": _whole(properties.get("numSms")),
        "compute_capability": _capability(properties, facts),
        "cuda": _version(document.header.get("cuda_runtime_version")),
        "driver": _version(document.header.get("cuda_driver_version")),
    }
    return {**facts, **{k: v for k, v in more.items() if v is not None}, "kind": "cuda"}


def named(name: str) -> dict[str, Any]:
    """What a device's name tells: a row of the GPU table, else the name alone."""
    spec = _spec(name)
    if spec is None:
        return {"kind": "cuda", "name": name}
    return {
        "kind": "cuda",
        "name": spec.name,
        "key": spec.key,
        "vendor": spec.vendor,
        "total_memory_bytes": spec.total_memory_bytes,
        "compute_capability": spec.compute_capability,
        "sm_count": spec.sm_count,
        "l2_bytes": spec.l2_bytes,
    }


def _spec(name: str) -> DeviceSpec | None:
    """None for what is no name of a table: a trace may say anything, and no file is looked for."""
    if not name.strip() or name.strip().lower() == "local" or any(c in name for c in "/\\"):
        return None
    if name.lower().endswith(".json"):
        return None
    try:
        return resolve_device(name).spec
    except PlannerError:
        return None


def _properties(document: Document, index: int) -> Mapping[str, Any]:
    listed = document.header.get("deviceProperties")
    rows = [r for r in listed if isinstance(r, dict)] if isinstance(listed, list) else []
    return next((r for r in rows if r.get("id") == index), rows[0] if len(rows) == 1 else {})


def _processor(document: Document) -> Facts:
    """This machine's, where the profile was recorded on a host of this name."""
    if document.header.get("host_name") and document.header["host_name"] == platform.node():
        return local_processor()
    return {"kind": "cpu", "name": ""}


def _capability(properties: Mapping[str, Any], facts: Mapping[str, Any]) -> str | None:
    """AMD's numbers are no compute capability."""
    major, minor = (_whole(properties.get(name)) for name in ("computeMajor", "computeMinor"))
    if facts.get("compute_capability") or major is None or minor is None:
        return None
    return None if str(properties.get("name")).startswith("AMD") else f"{major}.{minor}"


def _whole(value: Any) -> int | None:
    is_whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
    return value if is_whole else None


def _version(value: Any) -> str | None:
    """12040 → 12.4."""
    found = _whole(value)
    return None if not found else f"{found // 1000}.{found % 1000 // 10}"


# ---- memory


def memory_seen(document: Document, index: int | None) -> MemorySeen | None:
    """None where the allocator's events were not recorded."""
    mine = [e for e in document.memory if _is_of(e, index)]
    allocated = [b for e in mine if (b := _whole(e.get("Total Allocated"))) is not None]
    reserved = [b for e in mine if (b := _whole(e.get("Total Reserved"))) is not None]
    if not allocated:
        return None
    return MemorySeen(max(allocated), max(reserved, default=0) or None, len(mine))


def _is_of(event: Mapping[str, Any], index: int | None) -> bool:
    if index is None:
        return event.get("Device Type") == _PROCESSOR
    return event.get("Device Type") != _PROCESSOR and event.get("Device Id") in (index, None)
