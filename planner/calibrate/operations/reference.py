"""A reference operation: always the same work, so that its seconds tell how much of the machine a
measurement beside it had."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from planner.calibrate.load import HOST
from planner.calibrate.operations.backends import Backend
from planner.calibrate.operations.timing import time_calls
from planner.calibrate.priors import prior

#: Width of a square float32 product that takes about a millisecond on its kind of device.
_WIDTH = {"cpu": 512, "mps": 1024, "cuda": 2048}
#: Passes of a visit at the least: fewer have no mean.
_PASSES = 8
#: Small operations in one pass of the host: some tenths of a millisecond.
_HOST_CALLS = 150


class Reference:
    """Call it with a part, ``device`` or ``host``; each call is a visit of some ten
    milliseconds."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._product: Callable[[], Any] | None = None
        self._small = torch.ones(8)

    def __call__(self, part: str) -> dict[str, float | None]:
        """``mean`` and ``least`` seconds of a pass; ``clock_mhz``: the device's clock right after,
        None where nothing tells it."""
        seconds = self._host() if part == HOST else self._device()
        return {
            "mean": statistics.fmean(seconds),
            "least": min(seconds),
            "clock_mhz": self._clock(),
        }

    def _device(self) -> tuple[float, ...]:
        if self._product is None:
            width = _WIDTH[self._backend.kind]
            a, b = (torch.ones(width, width, device=self._backend.device) for _ in range(2))
            there = torch.empty_like(a)
            self._product = lambda: torch.mm(a, b, out=there)
        budget = prior("reference_seconds")
        return time_calls(
            [self._product], self._backend, budget_seconds=budget, min_rounds=_PASSES
        ).samples

    def _host(self) -> tuple[float, ...]:
        """What enqueues: Python and torch's dispatcher, on one core."""
        seconds: list[float] = []
        small, end = self._small, time.perf_counter() + prior("reference_seconds")
        while len(seconds) < _PASSES or time.perf_counter() < end:
            started = time.perf_counter()
            for _ in range(_HOST_CALLS):
                torch.add(small, small)
            seconds.append(time.perf_counter() - started)
        return tuple(seconds)

    def _clock(self) -> float | None:
        nvml = getattr(self._backend, "nvml", None)
        return None if nvml is None else nvml.sm_clock_mhz()
