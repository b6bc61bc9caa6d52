"""Moments of a step on the device's own clock: CUDA events, the wall clock elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


class HostMarks:
    """Where the host runs the operations itself, or is made to wait for them (MPS): the wall
    clock."""

    pipelined = False  # the host does not run ahead: every step can be timed on its own

    def __init__(self, synchronise: Callable[[], object] = lambda: None) -> None:
        self.synchronise = synchronise

    def mark(self) -> float:
        self.synchronise()
        return time.perf_counter()

    @staticmethod
    def seconds(start: float, end: float) -> float:
        return end - start


class CudaMarks:
    """Events in the stream: the device's time between them, while the host runs ahead."""

    pipelined = True

    def __init__(self, device: Any) -> None:
        import torch

        self.torch, self.device = torch, device

    def synchronise(self) -> None:
        self.torch.cuda.synchronize(self.device)

    def mark(self) -> Any:
        event = self.torch.cuda.Event(enable_timing=True)
        event.record(self.torch.cuda.current_stream(self.device))
        return event

    @staticmethod
    def seconds(start: Any, end: Any) -> float:
        """Both must have happened: synchronise first."""
        return start.elapsed_time(end) / 1e3


def marks_for(device: str) -> HostMarks | CudaMarks:
    """The clock of ``cpu``, ``cuda``, ``cuda:1`` or ``mps``."""
    import torch

    chosen = torch.device(device)
    if chosen.type == "cuda":
        return CudaMarks(chosen)
    return HostMarks(torch.mps.synchronize if chosen.type == "mps" else lambda: None)
