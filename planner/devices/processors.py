"""The processor of this machine as a device, so that the whole loop runs on a laptop too. No torch
is needed to name it."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from planner import tables
from planner.devices.profile import file_name
from planner.devices.specification import DeviceSpec
from planner.errors import ProfileError
from planner.units import KIB

FOLDER = "processors"


@cache
def local_processor() -> dict[str, Any]:
    """What the system says of its processor: ``name``, ``kind`` cpu, ``cores`` that this process
    may use, ``flags``, ``clock_hz`` (None where it does not say), ``l2_bytes`` of all cores,
    ``total_memory_bytes``."""
    info = _cpuinfo()
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    machine = platform.machine().lower()
    flags = (info.get("flags") or info.get("Features") or "").split() + (
        ["arm64"] if machine in ("aarch64", "arm64") else []
    )
    return {
        "kind": "cpu",
        "vendor": "cpu",
        "name": info.get("model name")
        or _sysctl("machdep.cpu.brand_string")
        or platform.processor()
        or machine
        or "processor",
        "cores": cores,
        "flags": flags,
        "clock_hz": float(info["cpu MHz"]) * 1e6 if info.get("cpu MHz") else None,
        "l2_bytes": _cache_bytes(2) * cores or None,
        "total_memory_bytes": _memory_bytes(),
        "architecture": machine,
    }


def host_bytes_per_s(virtual_cores: float | None) -> float:
    """Bytes a second of a host's memory that so many of its virtual cores read and write together;
    None: all of a host's."""
    most = _memory("bytes_per_s_at_most")
    if virtual_cores is None:
        return most
    cores = virtual_cores / _memory("virtual_cores_per_core")
    return min(_memory("bytes_per_s_per_core") * cores, most)


def processor_spec(device: Mapping[str, Any] | None = None) -> DeviceSpec:
    """A processor's datasheet as far as its instruction sets and clock give it: peaks of the types
    it has instructions for. Without a clock there are no peaks, and only a calibration prices it.
    """
    device = device or local_processor()
    cores, clock = int(device["cores"]), device.get("clock_hz")
    peaks: dict[str, float] = {}
    for row in tables.rows(FOLDER, "rates.csv"):
        if clock and row["flag"] in device["flags"]:
            rate = float(row["flop_per_cycle_per_core"]) * cores * clock
            peaks[row["type"]] = max(peaks.get(row["type"], 0.0), rate)
    bandwidth = min(_memory("bytes_per_s_per_core") * cores, _memory("bytes_per_s_at_most"))
    return DeviceSpec(
        key=file_name(device),
        vendor="cpu",
        name=str(device["name"]),
        total_memory_bytes=int(device["total_memory_bytes"]),
        memory_is_nominal=False,
        memory_bandwidth_bytes_per_s=bandwidth,
        peak_flops=peaks,
        tdp_watts=None,
        interconnect_bytes_per_s=None,
        pcie_generation=None,
        sm_count=cores,
        l2_bytes=device.get("l2_bytes"),
        compute_capability=None,
        launch_date=None,
        basis="instruction sets and clock of this machine",
        traps="",
        sources="profiles/processors",
    )


def _memory(parameter: str) -> float:
    for row in tables.rows(FOLDER, "memory.csv"):
        if row["parameter"] == parameter:
            return float(row["value"])
    raise ProfileError(f"no row {parameter!r}", where="profiles/processors/memory.csv")


def _cpuinfo() -> dict[str, str]:
    """The first processor's entries; empty where the system has no such file."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    first = text.partition("\n\n")[0]
    return {
        name.strip(): value.strip()
        for name, _, value in (line.partition(":") for line in first.splitlines())
    }


def _cache_bytes(level: int) -> int:
    try:
        for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
            if int((index / "level").read_text()) == level:
                return int((index / "size").read_text().strip().rstrip("K")) * KIB
    except (OSError, ValueError):
        pass
    return 0


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return int(_sysctl("hw.memsize") or 0)


def _sysctl(name: str) -> str | None:
    """A value of macOS; None elsewhere."""
    if platform.system() != "Darwin":
        return None
    try:
        return (
            subprocess.run(
                ["sysctl", "-n", name], capture_output=True, text=True, timeout=5
            ).stdout.strip()
            or None
        )
    except (OSError, subprocess.SubprocessError):
        return None
