"""NVIDIA's management library (the module ``pynvml``), as far as the planner asks it.

The library has no types of its own. ``NvmlLibrary`` is its surface that the planner uses; a test
holds it against the installed module, names and parameters, so that a call which the library does
not have is found without a GPU.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Protocol, cast

#: A board or a slice of one: the library's own pointer, never looked into.
Handle = object


class Memory(Protocol):
    """Bytes, as the driver counts them."""

    @property
    def total(self) -> int: ...


class Process(Protocol):
    @property
    def pid(self) -> int: ...


class NvmlLibrary(Protocol):
    """Every function raises ``NVMLError`` for what the driver refuses or does not know."""

    @property
    def NVMLError(self) -> type[Exception]: ...

    @property
    def NVML_CLOCK_SM(self) -> int: ...

    @property
    def NVML_TEMPERATURE_GPU(self) -> int: ...

    def nvmlInit(self) -> None: ...

    def nvmlShutdown(self) -> None: ...

    def nvmlSystemGetDriverVersion(self) -> str | bytes: ...

    def nvmlDeviceGetCount(self) -> int: ...

    def nvmlDeviceGetHandleByIndex(self, index: int, /) -> Handle: ...

    def nvmlDeviceGetHandleByUUID(self, uuid: str, /) -> Handle: ...

    def nvmlDeviceGetHandleByPciBusId(self, pci: str, /) -> Handle: ...

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, part: Handle, /) -> Handle: ...

    def nvmlDeviceGetName(self, board: Handle, /) -> str | bytes: ...

    def nvmlDeviceGetMemoryInfo(self, board: Handle, /) -> Memory: ...

    def nvmlDeviceGetPowerUsage(self, board: Handle, /) -> int: ...  # milliwatts

    def nvmlDeviceGetEnforcedPowerLimit(self, board: Handle, /) -> int: ...  # milliwatts

    def nvmlDeviceGetTotalEnergyConsumption(self, board: Handle, /) -> int: ...  # millijoules

    def nvmlDeviceGetClockInfo(self, board: Handle, kind: int, /) -> int: ...  # MHz

    def nvmlDeviceGetMaxClockInfo(self, board: Handle, kind: int, /) -> int: ...  # MHz

    def nvmlDeviceGetTemperature(self, board: Handle, sensor: int, /) -> int: ...  # degrees Celsius

    def nvmlDeviceGetCurrentClocksEventReasons(self, board: Handle, /) -> int: ...  # bits

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, board: Handle, /) -> int: ...  # bits

    def nvmlDeviceGetComputeRunningProcesses(self, board: Handle, /) -> Sequence[Process]: ...


def nvml_library() -> NvmlLibrary | None:
    """The library; None where it is not installed. It is not started (``nvmlInit``)."""
    try:
        return cast(NvmlLibrary, importlib.import_module("pynvml"))
    except ImportError:
        return None


def started(library: NvmlLibrary | None) -> NvmlLibrary | None:
    """The library, started; None without a driver that it may ask."""
    if library is None:
        return None
    try:
        library.nvmlInit()
    except library.NVMLError:
        return None
    return library


def text(value: str | bytes) -> str:
    """Versions of the library differ in what names are made of."""
    return value.decode() if isinstance(value, bytes) else value
