"""What goes on around a measurement: clocks, temperature and power of the device, and who else uses
it and the processor.

Readings are taken a few times a second by a thread of their own, since a device that has finished
shows idle clocks. What cannot be read is None. ``doubts`` says in a line each why results may not
be trusted, and what to do.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from planner.devices.telemetry import processor
from planner.devices.telemetry.nvml import Nvml
from planner.errors import FieldName

Doubt = tuple[str, str]

_EVERY_SECONDS = 0.25
#: From which on a reading is a doubt: share of samples throttled, drift of clocks between the first
#: and the last third, share of the processor that others take or the hypervisor withholds, spread
#: of a timing and share of timings so scattered.
_THROTTLED, _DRIFT, _OTHERS, _STOLEN, _SPREAD, _SCATTERED = 0.1, 0.05, 0.1, 0.02, 0.25, 0.2
_FEWEST_SAMPLES = 9
#: Clocks below this share of the highest seen are those of a device that waits.
_BUSY_CLOCK = 0.5
#: Drivers that choose the clock in hardware, whatever their governor is called.
_HARDWARE_CHOOSES = ("intel_pstate", "amd-pstate-epp", "amd_pstate", "amd-pstate", "apple-cpufreq")


class Watched(Protocol):
    """What a monitor wants of a backend."""

    kind: str

    @property
    def name(self) -> str: ...

    def joules(self) -> float | None: ...


@dataclass(frozen=True)
class Sample:
    watts: float | None
    sm_clock_mhz: float | None
    temperature_c: float | None
    throttles: frozenset[str]
    others: int | None


@dataclass(frozen=True)
class Load:
    """Processor seconds so far: of all cores and since start-up ``total``, ``busy`` and ``stolen``;
    ``own`` of this process."""

    total: float
    busy: float
    stolen: float
    own: float


class Monitor:
    """``with Monitor(backend) as monitor: …`` or ``start`` and ``stop``. ``nvml`` for tests; else
    that of a CUDA backend."""

    def __init__(
        self, backend: Watched, nvml: Nvml | None = None, every_seconds: float = _EVERY_SECONDS
    ):
        self._backend, self._every = backend, every_seconds
        self._nvml = nvml
        if nvml is None and backend.kind == "cuda":
            self._nvml = getattr(backend, "nvml", None)
        self._samples: list[Sample] = []
        self._read = 0
        self._joules: float | None = None
        self._loads: list[Load] = []
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> Monitor:
        self._loads = [load for load in (_load(),) if load]
        self._joules = self._counter()
        self._take()
        if self._nvml is not None:
            self._stopping.clear()
            self._thread = threading.Thread(target=self._watch, name="monitor", daemon=True)
            self._thread.start()
        return self

    def stop(self) -> None:
        """May be called twice."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
            self._thread = None

    def __enter__(self) -> Monitor:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _watch(self) -> None:
        while not self._stopping.wait(self._every):
            self._take()

    def _take(self) -> None:
        if self._nvml is not None:
            others = self._nvml.other_processes(os.getpid())
            self._samples.append(
                Sample(
                    self._nvml.watts(),
                    self._nvml.sm_clock_mhz(),
                    self._nvml.temperature_c(),
                    frozenset(self._nvml.throttles() or ()),
                    None if others is None else len(others),
                )
            )

    def _counter(self) -> float | None:
        return self._backend.joules()

    def readings(self) -> dict[str, float | None]:
        """Means since the last call (one sample now where there is none): ``watts``,
        ``sm_clock_mhz``, ``temperature_c``; ``joules``: what the device took since then."""
        if self._read >= len(self._samples):
            self._take()
        fresh, self._read = self._samples[self._read :], len(self._samples)
        out = {
            name: _mean(getattr(s, name) for s in fresh)
            for name in ("watts", "sm_clock_mhz", "temperature_c")
        }
        before, self._joules = self._joules, self._counter()
        now = self._joules
        out["joules"] = None
        if before is not None and now is not None and now >= before:
            out["joules"] = now - before
        return out

    def doubts(self) -> list[Doubt]:
        """Why results may not be trusted, each with what to do about it; all since ``start``."""
        now = _load()
        load = [] if not self._loads or now is None else _of_load(self._loads[0], now)
        return [
            *_of_processes(self._samples),
            *_of_throttling(self._samples),
            *_of_clocks(self._samples),
            *load,
            *_of_power(self._backend.kind),
        ]


def _mean(values: Iterable[float | None]) -> float | None:
    there = [v for v in values if v is not None]
    return statistics.fmean(there) if there else None


# ---- the device


def _of_processes(samples: Sequence[Sample]) -> list[Doubt]:
    most = max((s.others or 0 for s in samples), default=0)
    if not most:
        return []
    return [
        (
            f"{most} other process{'es' if most > 1 else ''} used the device",
            "End them (nvidia-smi lists them) and calibrate again",
        )
    ]


def _of_throttling(samples: Sequence[Sample]) -> list[Doubt]:
    out: list[Doubt] = []
    for reason in sorted({r for s in samples for r in s.throttles}):
        share = sum(reason in s.throttles for s in samples) / len(samples)
        if share >= _THROTTLED:
            mend = (
                "Under the same cap training runs so too; else raise it (nvidia-smi -pl) and "
                "calibrate again"
                if "power" in reason
                else "Let it cool, look after its fans and air, and calibrate again"
            )
            out.append((f"clocks were held down by {reason} in {share:.0%} of the samples", mend))
    return out


def _of_clocks(samples: Sequence[Sample]) -> list[Doubt]:
    clocks = [s.sm_clock_mhz for s in samples if s.sm_clock_mhz]
    clocks = [c for c in clocks if c >= _BUSY_CLOCK * max(clocks)]
    if len(clocks) < _FEWEST_SAMPLES:
        return []
    third = len(clocks) // 3
    first, last = statistics.median(clocks[:third]), statistics.median(clocks[-third:])
    if abs(last - first) <= _DRIFT * first:
        return []
    return [
        (
            f"clocks drifted from {first:.0f} to {last:.0f} MHz",
            "Calibrate again while the device is warm, or fix its clocks (nvidia-smi -lgc)",
        )
    ]


# ---- the processor


def _load() -> Load | None:
    try:
        import psutil

        times = psutil.cpu_times()
    except (ImportError, OSError, RuntimeError):
        return None
    stolen = float(getattr(times, "steal", 0.0))
    idle = float(times.idle) + float(getattr(times, "iowait", 0.0))
    total = sum(
        float(getattr(times, n, 0.0))
        for n in ("user", "system", "idle", "nice", "iowait", "irq", "softirq", "steal")
    )
    children = os.times()  # a calibration starts processes of its own
    own = time.process_time() + children.children_user + children.children_system
    return Load(total, total - idle - stolen, stolen, own)


def _of_load(before: Load, after: Load) -> list[Doubt]:
    """Shares of all processor time since the start."""
    passed = after.total - before.total
    if passed <= 0:
        return []
    others = ((after.busy - before.busy) - (after.own - before.own)) / passed
    stolen = (after.stolen - before.stolen) / passed
    out: list[Doubt] = []
    if others > _OTHERS:
        out.append(
            (f"other programs took {others:.0%} of the processor", "Close them and calibrate again")
        )
    if stolen > _STOLEN:
        out.append(
            (
                f"the hypervisor withheld {stolen:.0%} of the processor",
                "Calibrate on a machine with processors of its own, or when its host is quiet",
            )
        )
    return out


def _of_power(kind: str) -> list[Doubt]:
    out: list[Doubt] = []
    governor, driver = processor.governor(), processor.clock_driver()
    if (
        kind == "cpu"
        and governor not in (None, "performance", "schedutil")
        and driver not in _HARDWARE_CHOOSES
    ):
        out.append(
            (
                f"the processor's clock is governed by {governor!r}",
                "Choose performance (cpupower frequency-set -g performance) and calibrate again",
            )
        )
    if _on_battery():
        out.append(("the machine runs on its battery", "Plug it in and calibrate again"))
    return out


def _on_battery() -> bool:
    try:
        import psutil

        battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    except (ImportError, OSError, RuntimeError):
        return False
    return battery is not None and battery.power_plugged is False


# ---- the samples themselves


def doubts_of(timings: Sequence[Any]) -> list[Doubt]:
    """Whether too many timings (``timing.Timing``) are scattered."""
    judged = [t for t in timings if len(t.samples) >= 3]
    scattered = sum(
        (t.high_seconds - t.low_seconds) / t.seconds > _SPREAD for t in judged if t.seconds > 0
    )
    if not judged or scattered / len(judged) <= _SCATTERED:
        return []
    return [
        (
            f"samples of {scattered} of {len(judged)} operations scatter by more than "
            f"{_SPREAD:.0%}",
            f"Close other programs and calibrate again with {FieldName('again')}, or with more "
            f"{FieldName('seconds')}",
        )
    ]
