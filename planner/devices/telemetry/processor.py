"""What ``planner.devices.processors`` does not say of this machine's processor and a measurement
wants to know; from the operating system, and None where it does not tell."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

from planner.devices.processors import local_processor

_SYSTEM = Path("/sys/devices/system/cpu")
#: Instruction sets that matter for training, as Linux, macOS and torch name them.
_TELLING = (
    "avx",
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_bf16",
    "amx_int8",
    "amx_fp16",
    "fma",
    "asimd",
    "neon",
    "sve",
    "sve2",
    "bf16",
    "asimdhp",
    "i8mm",
)
#: Of these a processor multiplies bfloat16 in hardware with.
BFLOAT16 = frozenset(("avx512_bf16", "amx_bf16", "bf16"))


def flags() -> list[str]:
    """Instruction sets that the processor has, of those that matter for training."""
    there = {str(f).lower() for f in local_processor()["flags"]}
    if "arm64" in there:
        there |= {"neon"} | ({"bf16"} if _sysctl("hw.optional.arm.FEAT_BF16") == "1" else set())
    return [f for f in _TELLING if f in there]


def physical_cores() -> int | None:
    try:
        import psutil

        return psutil.cpu_count(logical=False)
    except ImportError:
        return None


def usable_cores() -> int:
    """Logical cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cache_bytes(level: int, root: Path = _SYSTEM) -> int | None:
    """Size of the data cache of a level of the first core."""
    for index in sorted((root / "cpu0" / "cache").glob("index*")):
        if _read(index / "level") == str(level) and _read(index / "type") in ("Data", "Unified"):
            return _size(_read(index / "size"))
    found = _sysctl(f"hw.perflevel0.l{level}cachesize") or _sysctl(f"hw.l{level}cachesize")
    return int(found) if found and found.isdigit() and int(found) else None


def governor(root: Path = _SYSTEM) -> str | None:
    """How the first core's clock is chosen: ``performance``, ``powersave`` …; None where it cannot
    be (in virtual machines)."""
    return _read(root / "cpu0" / "cpufreq" / "scaling_governor")


def clock_driver(root: Path = _SYSTEM) -> str | None:
    return _read(root / "cpu0" / "cpufreq" / "scaling_driver")


def joules(root: Path = Path("/sys/class/powercap")) -> float | None:
    """Energy that the packages took since some moment (Intel's and AMD's RAPL counters), where they
    may be read."""
    values = [
        _read(zone / "energy_uj")
        for zone in sorted(root.glob("intel-rapl:*"))
        if zone.name.count(":") == 1
    ]
    numbers = [int(v) for v in values if v and v.isdigit()]
    return sum(numbers) * 1e-6 if values and len(numbers) == len(values) else None


def container_free_bytes(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Memory left to this process's control group (version 2) where one sets a limit; cached files
    give way and count as free."""
    limit, used = _read(root / "memory.max"), _read(root / "memory.current")
    if not limit or not used or not limit.isdigit() or not used.isdigit():
        return None
    lines = (line.split() for line in (_read(root / "memory.stat") or "").splitlines())
    files = next((int(words[1]) for words in lines if words[:1] == ["inactive_file"]), 0)
    return max(0, int(limit) - int(used) + files)


def _read(file: Path) -> str | None:
    try:
        return file.read_text().strip()
    except OSError:
        return None


def _size(text: str | None) -> int | None:
    if not text:
        return None
    unit = {"K": 2**10, "M": 2**20, "G": 2**30}.get(text[-1].upper())
    digits = text[:-1] if unit else text
    return int(digits) * (unit or 1) if digits.isdigit() else None


def _sysctl(key: str) -> str | None:
    if platform.system() != "Darwin":
        return None
    try:
        done = subprocess.run(["sysctl", "-n", key], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
