"""NVIDIA's management library, of which every question may go unanswered: a driver that is not
there, a slice of a device, an older board. Every answer is None then, never 0."""

from __future__ import annotations

from types import ModuleType
from typing import Any

#: Bits of ``nvmlDeviceGetCurrentClocksThrottleReasons`` that slow a running kernel (nvml.h,
#: ``nvmlClocksThrottleReason*``). Idle, application clock settings and sync boost are states that a
#: user set or that mean no work.
THROTTLES = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "temperature (software)",
    0x40: "temperature (hardware)",
    0x80: "power brake",
}


class Nvml:
    """One device. ``index`` counts as CUDA counts; ``uuid`` without its prefix tells it apart where
    devices are masked."""

    def __init__(
        self,
        index: int = 0,
        uuid: str | None = None,
        pci: str | None = None,
        library: ModuleType | Any = None,
    ):
        self.library = _started(library)
        self.mig: str | None = None
        self.handle = self._find(index, uuid, pci) if self.library else None

    def _find(self, index: int, uuid: str | None, pci: str | None) -> Any:
        """The board; of a slice, the board that it is a slice of (clocks, power and temperature are
        the board's)."""
        slice_ = self._of("nvmlDeviceGetHandleByUUID", f"MIG-{uuid}") if uuid else None
        if slice_ is not None:
            self.mig = f"MIG-{uuid}"
            return self._of("nvmlDeviceGetDeviceHandleFromMigDeviceHandle", slice_) or slice_
        found = self._of("nvmlDeviceGetHandleByUUID", f"GPU-{uuid}") if uuid else None
        if found is None and pci:
            found = self._of("nvmlDeviceGetHandleByPciBusId", pci)
        return found if found is not None else self._of("nvmlDeviceGetHandleByIndex", index)

    def _of(self, name: str, *args: Any) -> Any:
        """One call of the library, None for whatever it refuses."""
        function = getattr(self.library, name, None)
        if function is None:
            return None
        try:
            return function(*args)
        except Exception:  # NVMLError and its many kin, or a library that another process tore down
            return None

    def _ask(self, name: str, *args: Any) -> Any:
        return self._of(name, self.handle, *args) if self.handle is not None else None

    @property
    def driver(self) -> str | None:
        return _text(self._of("nvmlSystemGetDriverVersion")) if self.library else None

    def watts(self) -> float | None:
        return _scaled(self._ask("nvmlDeviceGetPowerUsage"), 1e-3)

    def limit_watts(self) -> float | None:
        return _scaled(self._ask("nvmlDeviceGetEnforcedPowerLimit"), 1e-3)

    def joules(self) -> float | None:
        """Energy since the driver was loaded (Volta and newer)."""
        return _scaled(self._ask("nvmlDeviceGetTotalEnergyConsumption"), 1e-3)

    def sm_clock_mhz(self) -> float | None:
        return _scaled(
            self._ask("nvmlDeviceGetClockInfo", getattr(self.library, "NVML_CLOCK_SM", 1))
        )

    def most_sm_clock_mhz(self) -> float | None:
        return _scaled(
            self._ask("nvmlDeviceGetMaxClockInfo", getattr(self.library, "NVML_CLOCK_SM", 1))
        )

    def temperature_c(self) -> float | None:
        return _scaled(
            self._ask("nvmlDeviceGetTemperature", getattr(self.library, "NVML_TEMPERATURE_GPU", 0))
        )

    def throttles(self) -> set[str] | None:
        """Why the clocks are held down now."""
        bits = self._ask("nvmlDeviceGetCurrentClocksEventReasons")
        bits = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons") if bits is None else bits
        return (
            None
            if bits is None
            else {reason for bit, reason in THROTTLES.items() if int(bits) & bit}
        )

    def other_processes(self, own: int) -> list[int] | None:
        """Process numbers that compute on the device, without ``own``. In a container the driver's
        numbers are those of the host: where the list cannot hold ``own`` only more than one process
        counts as others."""
        found = self._ask("nvmlDeviceGetComputeRunningProcesses")
        if found is None:
            return None
        numbers = [int(p.pid) for p in found]
        return [n for n in numbers if n != own] if own in numbers else numbers[1:]


def _started(library: Any) -> Any:
    if library is None:
        try:
            import pynvml as library
        except ImportError:
            return None
    try:
        library.nvmlInit()
    except Exception:  # no driver
        return None
    return library


def _scaled(value: Any, factor: float = 1.0) -> float | None:
    return None if value is None else float(value) * factor


def _text(value: Any) -> str | None:
    return value.decode() if isinstance(value, bytes) else value
