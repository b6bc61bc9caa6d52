"""NVML of one board, with exactly the names, parameters and errors of the installed ``pynvml``."""

from typing import Any

import pynvml
from fakes.surface import Surface

from planner.devices.telemetry.nvml import Nvml

#: Answers of a quiet board; what is not here the driver does not support.
QUIET = {
    "nvmlInit": None,
    "nvmlShutdown": None,
    "nvmlSystemGetDriverVersion": "570.1",
    "nvmlDeviceGetCount": 1,
    "nvmlDeviceGetHandleByIndex": "board",
    "nvmlDeviceGetName": "NVIDIA H100 80GB HBM3",
    "nvmlDeviceGetPowerUsage": 250_000,
    "nvmlDeviceGetEnforcedPowerLimit": 700_000,
    "nvmlDeviceGetTotalEnergyConsumption": 5_000,
    "nvmlDeviceGetClockInfo": 1980,
    "nvmlDeviceGetMaxClockInfo": 1980,
    "nvmlDeviceGetTemperature": 55,
    "nvmlDeviceGetCurrentClocksThrottleReasons": 0,
    "nvmlDeviceGetComputeRunningProcesses": [],
}


class Refused:
    """An answer: the driver raises this error of NVML."""

    def __init__(self, code: int = pynvml.NVML_ERROR_NOT_SUPPORTED):
        self.code = code

    def __call__(self, *_args: Any, **_more: Any) -> Any:
        raise pynvml.NVMLError(self.code)


def library(**answers: Any) -> Any:
    """A library for ``Nvml(library=…)``, or to stand for the module ``pynvml``. An answer is a
    value, a function of the call's arguments, or ``Refused()``."""
    return Surface(pynvml, QUIET | answers, otherwise=lambda name: Refused())


def nvml(**answers: Any) -> Nvml:
    return Nvml(library=library(**answers))


def process(number: int) -> Any:
    """As ``nvmlDeviceGetComputeRunningProcesses`` lists them."""
    shown = pynvml.c_nvmlProcessInfo_v3_t(pid=number, usedGpuMemory=2**20)
    return pynvml.nvmlStructToFriendlyObject(shown)


def memory(total: int) -> Any:
    return pynvml.c_nvmlMemory_t(total=total, free=total, used=0)
