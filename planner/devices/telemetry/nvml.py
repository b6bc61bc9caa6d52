"""One NVIDIA device as its driver sees it. Every question may go unanswered: a driver that is not
there, a slice of a device, an older board. Every answer is None then, never 0."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from planner.devices.nvml_library import Handle, NvmlLibrary, nvml_library, started, text

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
Answer = TypeVar("Answer")


class Nvml:
    """One device. ``index`` counts as CUDA counts; ``uuid`` without its prefix tells it apart where
    devices are masked. ``library``: another than the installed one. ``Nvml.of_no_device()`` for a
    device that is not NVIDIA's."""

    def __init__(
        self,
        index: int = 0,
        uuid: str | None = None,
        pci: str | None = None,
        library: NvmlLibrary | None = None,
    ):
        self._start(started(library or nvml_library()), index, uuid, pci)

    @classmethod
    def of_no_device(cls) -> Nvml:
        """It answers nothing."""
        nvml = cls.__new__(cls)
        nvml._start(None, 0, None, None)
        return nvml

    def _start(
        self, library: NvmlLibrary | None, index: int, uuid: str | None, pci: str | None
    ) -> None:
        self.library = library
        #: Of a slice of a board (MIG), its name; None for a whole one.
        self.mig: str | None = None
        self.handle = self._find(index, uuid, pci)

    def _find(self, index: int, uuid: str | None, pci: str | None) -> Handle | None:
        """The board; of a slice, the board that it is a slice of (clocks, power and temperature are
        the board's)."""
        part = (
            self._of(lambda nvml: nvml.nvmlDeviceGetHandleByUUID(f"MIG-{uuid}")) if uuid else None
        )
        if part is not None:
            self.mig = f"MIG-{uuid}"
            board = self._of(lambda nvml: nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(part))
            return board or part
        found = (
            self._of(lambda nvml: nvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")) if uuid else None
        )
        if found is None and pci:
            found = self._of(lambda nvml: nvml.nvmlDeviceGetHandleByPciBusId(pci))
        if found is None:
            found = self._of(lambda nvml: nvml.nvmlDeviceGetHandleByIndex(index))
        return found

    def _of(self, question: Callable[[NvmlLibrary], Answer]) -> Answer | None:
        """None for whatever the driver refuses. A call that the library does not have is a fault of
        the planner, and is raised."""
        if self.library is None:
            return None
        try:
            return question(self.library)
        except self.library.NVMLError:
            return None

    def _ask(self, question: Callable[[NvmlLibrary, Handle], Answer]) -> Answer | None:
        board = self.handle
        return None if board is None else self._of(lambda nvml: question(nvml, board))

    @property
    def driver(self) -> str | None:
        return self._of(lambda nvml: text(nvml.nvmlSystemGetDriverVersion()))

    def watts(self) -> float | None:
        return _thousandth(self._ask(lambda nvml, board: nvml.nvmlDeviceGetPowerUsage(board)))

    def limit_watts(self) -> float | None:
        return _thousandth(
            self._ask(lambda nvml, board: nvml.nvmlDeviceGetEnforcedPowerLimit(board))
        )

    def joules(self) -> float | None:
        """Energy since the driver was loaded (Volta and newer)."""
        return _thousandth(
            self._ask(lambda nvml, board: nvml.nvmlDeviceGetTotalEnergyConsumption(board))
        )

    def sm_clock_mhz(self) -> float | None:
        return self._ask(
            lambda nvml, board: float(nvml.nvmlDeviceGetClockInfo(board, nvml.NVML_CLOCK_SM))
        )

    def most_sm_clock_mhz(self) -> float | None:
        return self._ask(
            lambda nvml, board: float(nvml.nvmlDeviceGetMaxClockInfo(board, nvml.NVML_CLOCK_SM))
        )

    def temperature_c(self) -> float | None:
        return self._ask(
            lambda nvml, board: float(
                nvml.nvmlDeviceGetTemperature(board, nvml.NVML_TEMPERATURE_GPU)
            )
        )

    def throttles(self) -> set[str] | None:
        """Why the clocks are held down now."""
        bits = self._ask(lambda nvml, board: nvml.nvmlDeviceGetCurrentClocksEventReasons(board))
        if bits is None:  # the name of drivers before 535
            bits = self._ask(
                lambda nvml, board: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(board)
            )
        if bits is None:
            return None
        return {reason for bit, reason in THROTTLES.items() if bits & bit}

    def other_processes(self, own: int) -> list[int] | None:
        """Process numbers that compute on the device, without ``own``. In a container the driver's
        numbers are those of the host: where the list cannot hold ``own`` only more than one process
        counts as others."""
        found = self._ask(lambda nvml, board: nvml.nvmlDeviceGetComputeRunningProcesses(board))
        if found is None:
            return None
        numbers = [int(process.pid) for process in found]
        return [n for n in numbers if n != own] if own in numbers else numbers[1:]


def _thousandth(value: int | None) -> float | None:
    """Watts of milliwatts, joules of millijoules."""
    return None if value is None else value * 1e-3
