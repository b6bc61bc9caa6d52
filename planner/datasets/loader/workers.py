"""A real torch DataLoader over the measured samples, with none, one, two, four … worker
processes."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from planner.datasets.loader.sources import Source
from planner.datasets.loader.stages import Stage, collate

#: A batch is made to take about this long in one worker, within the batch sizes below.
BATCH_SECONDS, LARGEST_BATCH = 0.05, 32
#: A worker that is silent for so long has died or hangs.
TIMEOUT_SECONDS = 60
#: Least seconds for one number of workers, and parts of the time between which the rate's scatter
#: is taken.
LEAST_SECONDS, WINDOWS = 0.5, 4
CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Prepared:
    """A map-style dataset: the good samples of a source through every stage."""

    source: Source
    stages: tuple[Stage, ...]
    indices: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        value = self.source.read(self.indices[index])
        for stage in self.stages:
            value = stage.run(value)
        return value


@dataclass(frozen=True)
class Endless:
    """The samples again and again: the time is what ends a measurement."""

    count: int

    def __iter__(self) -> Iterator[int]:
        return itertools.cycle(range(self.count))


def usable_cores() -> int:
    """Cores this process may use: its affinity, within a container's quota."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    quota = _cgroup("cpu.max").split()
    if len(quota) == 2 and quota[0].isdigit():
        cores = min(cores, max(1, round(int(quota[0]) / int(quota[1]))))
    return cores


def usable_memory_bytes() -> int | None:
    """Memory of the host, or of its container where that is less; None where the system does not
    tell."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None
    limit = _cgroup("memory.max").strip()
    return min(total, int(limit)) if limit.isdigit() else total


def _cgroup(name: str) -> str:
    try:
        return (CGROUP / name).read_text("ascii")
    except (OSError, UnicodeDecodeError):
        return ""


def worker_counts(cores: int) -> list[int]:
    """0, 1, and the powers of two up to all cores, and all cores; the most telling first, should
    the time run out."""
    powers = [2**k for k in range(1, cores.bit_length()) if 2**k < cores]
    return list(dict.fromkeys([1, cores, 0, *reversed(powers)]))


def measure_workers(
    prepared: Prepared, whole_seconds: float, counts: list[int], seconds: float
) -> Iterator[dict[str, Any]]:
    """For each number of workers {workers, samples_per_second, low, high, batch_size}, while
    ``seconds`` last.

    Raises RuntimeError or OSError where workers cannot be started (too little shared memory, no
    more processes).
    """
    batch = int(min(LARGEST_BATCH, max(1, round(BATCH_SECONDS / whole_seconds))))
    share = max(LEAST_SECONDS, seconds / max(1, len(counts)))
    end = time.perf_counter() + seconds
    for number, workers in enumerate(counts):
        if number and time.perf_counter() + LEAST_SECONDS > end:
            return
        arrivals = _arrivals(prepared, batch, workers, share)
        rates = [batch * (len(part) - 1) / (part[-1] - part[0]) for part in _windows(arrivals)]
        yield {
            "workers": workers,
            "samples_per_second": batch * (len(arrivals) - 1) / (arrivals[-1] - arrivals[0]),
            "low": float(np.percentile(rates, 10)),
            "high": float(np.percentile(rates, 90)),
            "batch_size": batch,
            "batches": len(arrivals),
        }


def _arrivals(prepared: Prepared, batch: int, workers: int, seconds: float) -> list[float]:
    """Times at which batches came. The first of each worker are left out: they wait for processes
    to start, and come at once."""
    from torch.utils.data import DataLoader, Dataset

    loader = DataLoader(
        cast("Dataset[Any]", prepared),
        batch_size=batch,
        sampler=Endless(len(prepared)),
        num_workers=workers,
        collate_fn=collate,
        timeout=TIMEOUT_SECONDS if workers else 0,
    )
    batches, least, arrivals = iter(loader), max(WINDOWS, 2 * workers) + 1, []
    for _ in range(max(1, 2 * workers)):
        next(batches)
    start = time.perf_counter()
    while len(arrivals) < least or time.perf_counter() - start < seconds:
        next(batches)
        arrivals.append(time.perf_counter())
        if time.perf_counter() - start > 4 * seconds and len(arrivals) > 1:
            break
    return arrivals


def _windows(arrivals: list[float]) -> list[list[float]]:
    """Consecutive parts that share their ends, each with at least one batch."""
    parts = min(WINDOWS, len(arrivals) - 1)
    edges = np.linspace(0, len(arrivals) - 1, parts + 1).astype(int)
    return [arrivals[low : high + 1] for low, high in zip(edges[:-1], edges[1:])]
