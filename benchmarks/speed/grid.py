"""Memory and time of 100,000 points of one traced model, in a process of their own."""

from __future__ import annotations

import time


def grid_points() -> dict:
    """Seconds, user seconds, peak resident bytes and what was priced: 50 batches × 50 lengths × 40
    GPUs in this process; the trace is loaded before the clock starts."""
    import resource

    import numpy as np

    from planner.devices.specification import all_devices
    from planner.memory.peak import peak_allocated
    from planner.models.resolve import resolve
    from planner.step_time.clock import StepClock
    from planner.trace.source import TraceSource
    from planner.training.recipe import Recipe

    trace = TraceSource(
        resolve("Llama-3.2-1B"), Recipe("fine_tune", "causal_lm", "bf16", "adamw")
    ).at(B=2, S=512)
    batch, length = np.meshgrid(np.arange(2, 52), np.arange(64, 64 + 50 * 64, 64), indexing="ij")
    devices = [
        spec
        for spec in all_devices()
        if spec.is_cuda_like and spec.supports("bf16") and spec.memory_bandwidth_bytes_per_s
    ][:40]
    start, started = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_utime
    dims = trace.dims(B=batch.ravel(), S=length.ravel())
    memory = peak_allocated(trace, dims)
    seconds = [StepClock(spec).price(trace, dims, precision="bf16").seconds for spec in devices]
    elapsed = time.perf_counter() - start
    points = len(devices) * memory.size
    elapsed *= 100_000 / points  # fewer devices than 40 would flatter the figure
    assert all(np.shape(s) == memory.shape and np.all(np.asarray(s) > 0) for s in seconds)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": elapsed,
        "user_seconds": usage.ru_utime - started,
        "peak_rss_bytes": usage.ru_maxrss * 1024,
        "detail": f"{points} points on {len(devices)} GPUs, scaled to 100,000",
    }
