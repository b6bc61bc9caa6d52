"""What a device's own counters say of a run that somebody else makes: peak memory, energy, and step
times by events.

Nothing here waits for the device, makes a CUDA context, or imports torch: a run that uses it has
imported it. What cannot be read is left out, never 0.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from planner.devices.telemetry.nvml import Nvml

MOST_PENDING = 64  # pairs of events that wait to be read


class Event(Protocol):
    """``torch.cuda.Event``, in a stream."""

    def record(self) -> None: ...

    def query(self) -> bool: ...

    def elapsed_time(self, end_event: Any, /) -> float: ...  # milliseconds


class TorchCuda(Protocol):
    """``torch.cuda``, as far as a watch asks it; bytes."""

    @property
    def Event(self) -> Any: ...

    def is_initialized(self) -> bool: ...

    def current_device(self) -> int: ...

    def synchronize(self, device: int, /) -> None: ...

    def reset_peak_memory_stats(self, device: int, /) -> None: ...

    def memory_stats(self, device: int, /) -> dict[str, Any]: ...

    def max_memory_allocated(self, device: int, /) -> int: ...

    def max_memory_reserved(self, device: int, /) -> int: ...

    def mem_get_info(self, device: int, /) -> tuple[int, int]: ...

    def get_device_properties(self, device: int, /) -> Any: ...

    def get_device_name(self, device: int, /) -> str: ...


if TYPE_CHECKING:
    import torch

    _torch_has_it: TorchCuda = torch.cuda


class DeviceWatch:
    """Counters of the device that this process trains on, from ``begin`` to ``measured``.

    ``device``: as torch names it; None takes the current CUDA device once the run has made one,
    else the processor. ``reset_peak``: start torch's peak counters anew, without which a peak
    before the run hides the run's own.
    """

    def __init__(self, device: Any = None, *, reset_peak: bool = True, nvml: Nvml | None = None):
        self.wanted, self.reset_peak, self._nvml = device, reset_peak, nvml
        self.cuda: TorchCuda | None = None
        self.device = 0
        self.notes: list[str] = []
        self._joules: float | None = None
        self._since = self._began = 0.0
        self._failures = 0

    def begin(self) -> None:
        self._began = time.perf_counter()
        self.find()

    def find(self) -> bool:
        """Whether the CUDA device is known by now; asked again with each step until it is, as a run
        may make its context late."""
        if self.cuda is not None:
            return True
        torch = sys.modules.get("torch")
        if torch is None or not hasattr(torch, "cuda") or not torch.cuda.is_initialized():
            return False
        wanted = None if self.wanted is None else torch.device(self.wanted)
        if wanted is not None and wanted.type != "cuda":
            return False
        cuda: TorchCuda = torch.cuda
        index = cuda.current_device() if wanted is None or wanted.index is None else wanted.index
        self.cuda, self.device = cuda, index
        if self.reset_peak:
            cuda.reset_peak_memory_stats(index)
        self._failures = self._out_of_memory_errors(cuda)
        self._start_energy(cuda)
        return True

    def ran_out(self) -> bool:
        """Whether torch's allocator raised an out-of-memory error since the beginning: it counts
        them."""
        return self.cuda is not None and self._out_of_memory_errors(self.cuda) > self._failures

    def _out_of_memory_errors(self, cuda: TorchCuda) -> int:
        return cuda.memory_stats(self.device).get("num_ooms", 0)

    def _start_energy(self, cuda: TorchCuda) -> None:
        if self._nvml is None:
            uuid = getattr(cuda.get_device_properties(self.device), "uuid", None)
            self._nvml = Nvml(self.device, uuid=str(uuid) if uuid else None)
        self._since = time.perf_counter()
        # a slice has no counter of its own: the board's counts its neighbours too
        self._joules = None if self._nvml.mig else self._nvml.joules()

    def stamp(self) -> Event | None:
        """An event in the current stream; None where the host's clock has to do. Costs a few
        microseconds."""
        if self.cuda is None:
            return None
        event: Event = self.cuda.Event(enable_timing=True)
        event.record()
        return event

    def synchronise(self) -> None:
        if self.cuda is not None:
            self.cuda.synchronize(self.device)

    def measured(self) -> dict[str, Any]:
        """The names of a record's ``measurement``, in bytes, joules and watts. Read the energy
        after the last step is done."""
        if self.cuda is None:
            return {}
        found = dict(
            peak_allocated_bytes=self.cuda.max_memory_allocated(self.device) or None,
            peak_reserved_bytes=self.cuda.max_memory_reserved(self.device) or None,
        )
        return {
            name: value
            for name, value in (found | self._used(self.cuda) | self._energy()).items()
            if value is not None
        }

    def _used(self, cuda: TorchCuda) -> dict[str, Any]:
        try:
            free, total = cuda.mem_get_info(self.device)
        except RuntimeError:
            return {}
        if self._nvml is not None and self._nvml.other_processes(os.getpid()):
            self.notes.append(
                "other processes were on the device: what it shows as used, and its energy, "
                "are theirs too"
            )
        return {"device_used_bytes": total - free}

    def _energy(self) -> dict[str, Any]:
        before, now = self._joules, self._nvml.joules() if self._nvml is not None else None
        seconds = time.perf_counter() - self._since
        if before is None or now is None or now < before or seconds <= 0:
            return {}
        whole = time.perf_counter() - self._began
        if self._since - self._began > 0.02 * whole:
            self.notes.append(
                f"the energy is that of the last {seconds:.0f} s of {whole:.0f} s: the device "
                "was not in use before"
            )
        return dict(energy_joules=now - before, mean_watts=(now - before) / seconds)

    def name(self) -> str | None:
        """The driver's name of the device; ``cpu`` where the run had no other."""
        if self.cuda is not None:
            return self.cuda.get_device_name(self.device)
        torch = sys.modules.get("torch")
        kind = "cpu" if torch is None or self.wanted is None else torch.device(self.wanted).type
        return kind if torch is not None else None

    def machine(self) -> dict[str, Any]:
        """Device, driver, system, cores; neither host nor user."""
        device = (
            self.cuda.get_device_name(self.device) if self.cuda is not None else processor_name()
        )
        driver = self._nvml.driver if self._nvml is not None else None
        found = dict(
            device=device,
            driver=driver,
            system=f"{platform.system()} {platform.machine()}",
            cores=cores(),
        )
        return {name: value for name, value in found.items() if value is not None}


#: A stretch of a step: its name or None, and either (None, seconds) by the host's clock or two
#: events of the stream.
Stretch = tuple[str | None, Any, Any]


class StepEvents:
    """Seconds of the stretches of steps; those between events are read once they have happened, and
    never waited for."""

    def __init__(self) -> None:
        self.pending: deque[list[Stretch]] = deque()

    def add(self, step: list[Stretch]) -> list[list[tuple[str | None, float]]]:
        """Take the stretches of a step; those of the steps that are known by now to be done."""
        self.pending.append(step)
        return self.done() if len(self.pending) >= MOST_PENDING or not _waits(step) else []

    def done(self) -> list[list[tuple[str | None, float]]]:
        found: list[list[tuple[str | None, float]]] = []
        while self.pending and not (_waits(self.pending[0]) and not self.pending[0][-1][2].query()):
            found.append(
                [
                    (name, end if start is None else start.elapsed_time(end) / 1e3)
                    for name, start, end in self.pending.popleft()
                ]
            )
        return found


def _waits(step: list[Stretch]) -> bool:
    return bool(step) and step[-1][1] is not None


def processor_name() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(
            line.partition(":")[2].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine() or None


def cores() -> int | None:
    """Those that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count()


def versions() -> dict[str, str]:
    """Of planner, Python and the libraries that the run has imported."""
    from planner.version import __version__

    found = {"planner": __version__, "python": platform.python_version()}
    for name in (
        "torch",
        "transformers",
        "peft",
        "trl",
        "accelerate",
        "bitsandbytes",
        "lightning",
        "pytorch_lightning",
        "timm",
        "deepspeed",
    ):
        version = getattr(sys.modules.get(name), "__version__", None)
        if isinstance(version, str):
            found[name] = version
    cuda = getattr(getattr(sys.modules.get("torch"), "version", None), "cuda", None)
    return found | ({"cuda": cuda} if cuda else {})
