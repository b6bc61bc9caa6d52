"""The device that is measured: CUDA (ROCm builds of torch included), Apple's MPS, or the plain
processor.

Import this module only where torch is wanted.
"""

from __future__ import annotations

import functools
from typing import Any

import torch

from planner.devices.processors import local_processor
from planner.devices.telemetry import processor
from planner.devices.telemetry.nvml import Nvml
from planner.errors import FieldName, MachineError, QuestionError

#: A virtual machine may claim its host's whole cache: what buffers must exceed has a limit.
_LARGEST_CPU_CACHE, _USUAL_CACHE = 64 * 2**20, 32 * 2**20
#: Compute capabilities from which on bfloat16 and TF32, and float16, run on the matrix units.
_AMPERE, _VOLTA = 8.0, 7.0
_KINDS = ("cuda", "mps", "cpu")


class Backend:
    """A device and how to wait for it. ``cache_bytes``: what rotating buffers must exceed."""

    kind = ""
    device: torch.device
    cache_bytes: int

    @property
    def name(self) -> str:
        raise NotImplementedError

    def synchronise(self) -> None:
        """Wait until the device has done what was asked of it."""

    def facts(self) -> dict[str, Any]:
        """What tells this device and this software from others; JSON values."""
        raise NotImplementedError

    def dtypes(self) -> tuple[str, ...]:
        """Float types worth measuring here."""
        raise NotImplementedError

    def free_bytes(self) -> int:
        raise NotImplementedError

    def joules(self) -> float | None:
        """A counter of energy, None where there is none."""
        return None

    def release(self) -> None:
        """Give cached memory back."""

    def alive(self) -> bool:
        try:
            self.synchronise()
        except Exception:
            return False
        return True


def backend(name: str | None = None, index: int = 0) -> Backend:
    """The device called ``cuda``, ``cuda:1``, ``mps`` or ``cpu``; without a name the best there is.

    Raises QuestionError for a name that is none of these or a device number that is not there,
    MachineError for a kind of device that this machine or this torch does not have.
    """
    kind, _, number = (name or _best()).lower().partition(":")
    if kind not in _KINDS or (number and not number.isdigit()):
        raise QuestionError(f"unknown device {name!r}", mend="Write cuda, cuda:1, mps or cpu")
    return {"cuda": _cuda, "mps": _mps, "cpu": lambda _: CpuBackend()}[kind](int(number or index))


def _best() -> str:
    return (
        "cuda"
        if torch.cuda.is_available()
        else "mps"
        if torch.backends.mps.is_available()
        else "cpu"
    )


def _cuda(index: int) -> Backend:
    if not torch.cuda.is_available():
        built = torch.version.cuda or torch.version.hip
        raise MachineError(
            "no CUDA device" if built else "this torch is built without CUDA",
            mend=f"Measure the processor with {FieldName('device')} cpu, or install a driver and a "
            "torch that match",
        )
    if index >= torch.cuda.device_count():
        raise QuestionError(
            f"there is no cuda:{index}",
            mend=f"This machine has {torch.cuda.device_count()} (numbers from 0)",
        )
    return CudaBackend(index)


def _mps(_index: int) -> Backend:
    if not torch.backends.mps.is_available():
        raise MachineError(
            "no Apple GPU (MPS) here", mend=f"Measure the processor with {FieldName('device')} cpu"
        )
    return MpsBackend()


def _software() -> dict[str, Any]:
    return {"torch": torch.__version__, "cuda": torch.version.cuda, "hip": torch.version.hip}


def _host() -> dict[str, Any]:
    """The processor, which enqueues for every device."""
    return {
        "name": local_processor()["name"],
        "physical_cores": processor.physical_cores(),
        "usable_cores": processor.usable_cores(),
        "threads": torch.get_num_threads(),
        "flags": processor.flags(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "l2_bytes": processor.cache_bytes(2),
        "l3_bytes": processor.cache_bytes(3),
        "governor": processor.governor(),
    }


def _memory() -> Any:
    import psutil

    return psutil.virtual_memory()


class CudaBackend(Backend):
    """One CUDA or ROCm device, or a slice of one."""

    kind = "cuda"

    def __init__(self, index: int):
        torch.cuda.set_device(index)
        self.index, self.device = index, torch.device("cuda", index)
        self.properties = torch.cuda.get_device_properties(index)
        self.cache_bytes = int(getattr(self.properties, "L2_cache_size", 0)) or _USUAL_CACHE

    @property
    def name(self) -> str:
        return self.properties.name

    @functools.cached_property
    def nvml(self) -> Nvml:
        if torch.version.hip:
            return Nvml.of_no_device()
        uuid, parts = (
            getattr(self.properties, "uuid", None),
            [getattr(self.properties, f"pci_{n}_id", None) for n in ("domain", "bus", "device")],
        )
        pci = "{:08x}:{:02x}:{:02x}.0".format(*parts) if None not in parts else None
        return Nvml(self.index, str(uuid) if uuid else None, pci)

    def synchronise(self) -> None:
        torch.cuda.synchronize(self.device)

    def facts(self) -> dict[str, Any]:
        p = self.properties
        return {
            "kind": self.kind,
            "name": p.name,
            "vendor": "AMD" if torch.version.hip else "NVIDIA",
            "index": self.index,
            "total_memory_bytes": p.total_memory,
            "compute_capability": f"{p.major}.{p.minor}",
            "architecture": getattr(p, "gcnArchName", None) or None,
            "sm_count": p.multi_processor_count,
            "l2_bytes": int(getattr(p, "L2_cache_size", 0)) or None,
            "driver": self.nvml.driver,
            "cudnn": torch.backends.cudnn.version(),
            "mig": self._slice(),
            "power_limit_watts": self.nvml.limit_watts(),
            "most_sm_clock_mhz": self.nvml.most_sm_clock_mhz(),
            "host": _host(),
            **_software(),
        }

    def _slice(self) -> str | None:
        """``1g.10gb`` of a board that is divided; None for a whole one."""
        _, divided, profile = self.name.partition("MIG ")
        return profile.strip() if divided else self.nvml.mig

    def dtypes(self) -> tuple[str, ...]:
        if torch.version.hip:
            return "float32", "bfloat16", "float16"
        capability = self.properties.major + self.properties.minor / 10
        if capability >= _AMPERE:
            return "float32", "tf32", "bfloat16", "float16"
        return ("float32", "float16") if capability >= _VOLTA else ("float32",)

    def free_bytes(self) -> int:
        """What the driver has left, and what torch holds without using it."""
        free, _ = torch.cuda.mem_get_info(self.device)
        return (
            free
            + torch.cuda.memory_reserved(self.device)
            - torch.cuda.memory_allocated(self.device)
        )

    def joules(self) -> float | None:
        return self.nvml.joules()

    def release(self) -> None:
        torch.cuda.empty_cache()

    @functools.cached_property
    def _cycles_per_second(self) -> float:
        """How fast ``torch.cuda._sleep`` counts, found by trying: the highest of a few, since an
        idle device's clock is slow."""
        cycles, rates = 20_000_000, []
        for _ in range(3):
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            torch.cuda._sleep(cycles)
            end.record()
            end.synchronize()
            rates.append(cycles / max(1e-6, start.elapsed_time(end) * 1e-3))
        return max(rates)

    def occupy(self, seconds: float) -> None:
        """Keep the device busy for so long without work, so that what is enqueued meanwhile runs
        without gaps."""
        torch.cuda._sleep(int(seconds * self._cycles_per_second))


class MpsBackend(Backend):
    """Apple's GPU. Memory is the machine's own."""

    kind = "mps"

    def __init__(self) -> None:
        self.device, self.cache_bytes = torch.device("mps"), _USUAL_CACHE

    @property
    def name(self) -> str:
        return local_processor()["name"]

    def synchronise(self) -> None:
        torch.mps.synchronize()

    def facts(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "name": self.name,
            "vendor": "Apple",
            "total_memory_bytes": self._total(),
            "driver": None,
            "mig": None,
            "host": _host(),
            **_software(),
        }

    def _total(self) -> int:
        return (
            int(torch.mps.recommended_max_memory())
            if hasattr(torch.mps, "recommended_max_memory")
            else _memory().total
        )

    def dtypes(self) -> tuple[str, ...]:
        return "float32", "float16", "bfloat16"

    def free_bytes(self) -> int:
        return max(0, min(self._total() - torch.mps.driver_allocated_memory(), _memory().available))

    def release(self) -> None:
        torch.mps.empty_cache()


class CpuBackend(Backend):
    """The processor, with as many threads as torch uses."""

    kind = "cpu"

    def __init__(self) -> None:
        self.device = torch.device("cpu")
        self.cache_bytes = min(
            _LARGEST_CPU_CACHE, processor.cache_bytes(3) or processor.cache_bytes(2) or _USUAL_CACHE
        )

    @property
    def name(self) -> str:
        return local_processor()["name"]

    def facts(self) -> dict[str, Any]:
        host = _host()
        return {
            **local_processor(),
            "threads": host["threads"],
            "driver": None,
            "mig": None,
            "host": host,
            **_software(),
        }

    def dtypes(self) -> tuple[str, ...]:
        return ("float32", "bfloat16") if _has_bfloat16() else ("float32",)

    def free_bytes(self) -> int:
        limits = (_memory().available, processor.container_free_bytes())
        return min(n for n in limits if n is not None)

    def joules(self) -> float | None:
        return processor.joules()


def _has_bfloat16() -> bool:
    return bool(processor.BFLOAT16 & set(processor.flags()))
