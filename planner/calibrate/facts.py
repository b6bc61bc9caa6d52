"""Facts of a device beside its operations: memory and copy rates, the best matrix products, what
the runtime takes of memory, how the allocator rounds, power at rest. Each is a record ``{"record":
"fact", "name", "value", "unit"}``; what a device does not have, or cannot be measured in the time,
has no record."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch

from planner.calibrate.context import context_bytes
from planner.calibrate.operations.backends import Backend, CudaBackend
from planner.calibrate.operations.execute import CannotRun, guarded, precision
from planner.calibrate.operations.tensors import dtype_of
from planner.calibrate.operations.timing import time_calls
from planner.operations.cases import precision_of, tensor_type

Record = dict[str, Any]
#: Sizes that are past the last caches and yet short: bytes of a copy, width of a square product.
_COPY_BYTES = {"cuda": 1 << 30, "mps": 1 << 28, "cpu": 1 << 27}
_WIDTH = {"cuda": {2: 8192, 4: 4096}, "mps": {2: 2048, 4: 2048}, "cpu": {2: 1024, 4: 1024}}
_LINK_BYTES, _SMALL_LINK_BYTES = 1 << 28, 1 << 12
_ALLOCATED = {
    "malloc_small_seconds": 1 << 20,
    "malloc_seconds": 20 << 20,
    "malloc_large_seconds": 1 << 30,
}
_MEMORY_SHARE = 0.25  # of the free memory, for one buffer
_ONE_SECONDS = 0.15
_ROUNDS = (3, 15)
_RESTING_SECONDS, _READINGS = 0.5, 5


def measure_facts(
    backend: Backend, *, budget_seconds: float, compiled: bool = False
) -> Iterator[Record]:
    """Records of kind ``fact``, until the budget (seconds of wall clock) is used up. ``compiled``
    adds what torch.compile leaves of the time, which takes the compiler's own time past any budget,
    or a record of kind ``trust`` where it does not work. Raises MachineError when the device fails.
    """
    end = time.monotonic() + budget_seconds
    for program in _PROGRAMS[backend.kind]:
        if time.monotonic() >= end:
            break
        try:
            yield from program(backend, end)
        except (CannotRun, torch.OutOfMemoryError):
            backend.release()
    if compiled:
        from planner.calibrate.compiled import measure_compiled

        yield from measure_compiled(backend)


def _fact(name: str, value: float, unit: str, **more: Any) -> Record:
    return {"record": "fact", "name": name, "value": value, "unit": unit, **more}


# ---- every device


def memory_rate(backend: Backend, _end: float) -> Iterator[Record]:
    """Bytes read and written by a large copy within the device's memory."""
    size = min(_COPY_BYTES[backend.kind], int(_MEMORY_SHARE * backend.free_bytes()))
    # every page is touched
    source, there = (
        torch.ones(size // 4, dtype=torch.float32, device=backend.device) for _ in range(2)
    )
    timing = time_calls([lambda: there.copy_(source)], backend, budget_seconds=_ONE_SECONDS)
    yield _fact(
        "memory_bytes_per_s",
        2 * size / timing.seconds,
        "B/s",
        bytes=size,
        samples=list(timing.samples),
    )


def product_rates(backend: Backend, end: float) -> Iterator[Record]:
    """The rate of a large square product in each type: what ``matmul`` reaches, not what a
    datasheet promises."""
    for dtype in backend.dtypes():
        if time.monotonic() >= end:
            return
        width = _WIDTH[backend.kind][2 if dtype in ("bfloat16", "float16", "tf32") else 4]
        a, b = (
            torch.randn(width, width, device=backend.device).to(dtype_of(tensor_type(dtype)))
            for _ in range(2)
        )
        with precision(precision_of(dtype)), guarded(backend):
            timing = time_calls(
                [lambda a=a, b=b: torch.mm(a, b)], backend, budget_seconds=_ONE_SECONDS
            )
        yield _fact(
            f"matmul_flops_per_s.{dtype}",
            2 * width**3 / timing.seconds,
            "FLOP/s",
            width=width,
            samples=list(timing.samples),
        )


def power_at_rest(backend: Backend, end: float) -> Iterator[Record]:
    """Mean power while nothing runs but a context is there: what a device draws while it waits."""
    if time.monotonic() + _RESTING_SECONDS > end:
        return
    backend.synchronise()
    before, start = backend.joules(), time.perf_counter()
    if before is None and backend.kind != "cuda":
        return
    readings = []
    for _ in range(_READINGS):
        time.sleep(_RESTING_SECONDS / _READINGS)
        if backend.kind == "cuda":
            readings.append(cast("CudaBackend", backend).nvml.watts())
    known = [watts for watts in readings if watts is not None]
    after = backend.joules()
    if known:
        yield _fact("idle_watts", statistics.median(known), "W", samples=known)
    elif before is not None and after is not None and after > before:
        yield _fact("idle_watts", (after - before) / (time.perf_counter() - start), "W")


def context(backend: Backend, end: float) -> Iterator[Record]:
    """What a process takes of the device's memory before its tensors."""
    found = context_bytes(backend, end - time.monotonic())
    if found is not None:
        yield _fact("context_bytes", found[0], "B", how=found[1])


# ---- CUDA


def copies(backend: Backend, end: float) -> Iterator[Record]:
    """Host to device and back, over pinned and pageable memory; and the seconds of a copy of next
    to nothing."""
    size = min(_LINK_BYTES, int(_MEMORY_SHARE * backend.free_bytes()))
    there = torch.empty(size, dtype=torch.uint8, device=backend.device)
    pageable = torch.zeros(size, dtype=torch.uint8)
    pinned = torch.zeros(size, dtype=torch.uint8, pin_memory=True)
    directions = {
        "host_to_device_pinned": (there, pinned),
        "host_to_device_pageable": (there, pageable),
        "device_to_host_pinned": (pinned, there),
        "device_to_host_pageable": (pageable, there),
    }
    for name, (to, source) in directions.items():
        if time.monotonic() >= end:
            return
        samples = awaited(lambda to=to, source=source: to.copy_(source, non_blocking=True), backend)
        yield _fact(
            f"{name}_bytes_per_s",
            size / statistics.median(samples),
            "B/s",
            bytes=size,
            samples=samples,
        )
    few = slice(0, _SMALL_LINK_BYTES)
    samples = awaited(lambda: there[few].copy_(pinned[few], non_blocking=True), backend)
    yield _fact(
        "host_to_device_seconds",
        statistics.median(samples),
        "s",
        bytes=_SMALL_LINK_BYTES,
        samples=samples,
    )


def allocation(backend: Backend, end: float) -> Iterator[Record]:
    """Seconds of the driver's allocation behind a tensor for which nothing is cached, and of giving
    memory back."""
    freed: list[float] = []
    for name, size in _ALLOCATED.items():
        if time.monotonic() >= end or size > _MEMORY_SHARE * backend.free_bytes():
            break
        rounds = [
            found for found in (_allocated(backend, size) for _ in range(_ROUNDS[0] + 2)) if found
        ]
        if len(rounds) > 1:
            freed += [release for _, release in rounds]
            yield _fact(
                name,
                statistics.median([seconds for seconds, _ in rounds[1:]]),
                "s",
                bytes=size,
                samples=[seconds for seconds, _ in rounds],
            )
    if freed:
        yield _fact("free_seconds", statistics.median(freed), "s", samples=freed)


def _allocated(backend: Backend, size: int) -> tuple[float, float] | None:
    """(seconds to allocate, seconds to give back); None where a segment that is partly in use had
    room."""
    backend.release()
    backend.synchronise()
    held = torch.cuda.memory_reserved(backend.device)
    start = time.perf_counter()
    tensor = torch.empty(size, dtype=torch.uint8, device=backend.device)
    made = time.perf_counter()
    grown = torch.cuda.memory_reserved(backend.device) > held
    del tensor
    dropped = time.perf_counter()
    backend.release()
    return (made - start, time.perf_counter() - dropped) if grown else None


def workspace(backend: Backend, _end: float) -> Iterator[Record]:
    """What the allocator hands to the matrix library at a process's first product."""
    clear = getattr(torch._C, "_cuda_clearCublasWorkspaces", None)
    if clear is None:
        return
    a, b, out = (torch.zeros(256, 256, device=backend.device) for _ in range(3))
    backend.synchronise()
    clear()
    before = torch.cuda.memory_allocated(backend.device)
    torch.mm(a, b, out=out)
    backend.synchronise()
    seen = torch.cuda.memory_allocated(backend.device) - before
    if seen > 0:
        yield _fact("cublas_workspace_bytes", seen, "B")


def allocator_constants(backend: Backend, _end: float) -> Iterator[Record]:
    """How the caching allocator rounds a tensor of one byte, and how large the segments are that a
    small and a large one come from: the constants that a replay assumes."""
    if torch.cuda.get_allocator_backend() != "native":
        return
    backend.release()
    before = torch.cuda.memory_allocated(backend.device)
    tiny = torch.empty(1, dtype=torch.uint8, device=backend.device)
    yield _fact("allocator_round_bytes", torch.cuda.memory_allocated(backend.device) - before, "B")
    larger = torch.empty(2 << 20, dtype=torch.uint8, device=backend.device)
    for name, tensor in (
        ("allocator_small_segment_bytes", tiny),
        ("allocator_large_segment_bytes", larger),
    ):
        size = segment_bytes(torch.cuda.memory_snapshot(), tensor.data_ptr())
        if size is not None:
            yield _fact(name, size, "B")


def segment_bytes(snapshot: list[dict[str, Any]], address: int) -> int | None:
    """Size of the segment that an address lies in; None for expandable segments, which grow."""
    for segment in snapshot:
        if segment["address"] <= address < segment["address"] + segment["total_size"]:
            return None if segment.get("is_expandable") else segment["total_size"]
    return None


def awaited(action: Callable[[], Any], backend: Backend) -> list[float]:
    """Wall-clock seconds of an action with what it enqueues."""
    samples: list[float] = []
    action()
    end = time.perf_counter() + _ONE_SECONDS
    while len(samples) < _ROUNDS[0] or (len(samples) < _ROUNDS[1] and time.perf_counter() < end):
        backend.synchronise()
        start = time.perf_counter()
        action()
        backend.synchronise()
        samples.append(time.perf_counter() - start)
    return samples


_PROGRAMS: dict[str, tuple[Callable[[Backend, float], Iterator[Record]], ...]] = {
    "cuda": (
        memory_rate,
        workspace,
        allocator_constants,
        copies,
        product_rates,
        power_at_rest,
        allocation,
        context,
    ),
    "mps": (memory_rate, product_rates, power_at_rest),
    "cpu": (memory_rate, context, product_rates, power_at_rest),
}
