"""Where a real step's time goes, by kind of operation: torch's profiler, in the planner's own
vocabulary of kinds.

A profiled operation counts whole where the planner knows it (``aten::linear`` with all that it
calls); what it does not know is looked into. On CUDA the time of an operation is that of the
kernels that it started, on a processor its own.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from planner.operations.registry import UNMODELLED, kind_of

STEPS = 2
MICROSECOND = 1e-6
QUIET = "99"
#: Names that a trace holds in another form: attention is one operation there.
ATTENTION = (
    "scaled_dot_product_attention",
    "_scaled_dot_product",
    "_flash_attention",
    "_efficient_attention",
    "_cudnn_attention",
    "_fused_sdp",
)
OPTIMIZER = ("Optimizer.step#", "Optimizer.zero_grad#")
#: Looked into even where they are known: they run no kernel themselves, but some of what they call
#: does.
HOLLOW = ("view",)


def seconds_by_kind(step: Any, device_type: str, steps: int = STEPS) -> dict[str, float]:
    """Seconds of one micro-batch with its update, by kind; accumulation is left out. Raises what
    the step raises."""
    os.environ.setdefault("KINETO_LOG_LEVEL", QUIET)  # its library writes to standard error
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device_type == "cuda" else [])
    accumulation, step.accumulation = step.accumulation, 1
    try:
        step()
        with profile(activities=activities, acc_events=True) as profiler:
            for _ in range(steps):
                step()
            _synchronise(device_type)
    finally:
        step.accumulation = accumulation
    found: dict[str, float] = defaultdict(float)
    for kind, seconds in by_kind(profiler.events() or (), device_type):
        found[kind] += seconds / steps
    return {kind: seconds for kind, seconds in found.items() if seconds > 0}


def by_kind(events: Iterable[Any], device_type: str) -> Iterator[tuple[str, float]]:
    """(kind, seconds) of each operation that a profile holds; the parts of one are not counted
    again."""
    for event in events:
        if event.cpu_parent is None and str(event.device_type).endswith("CPU"):
            yield from _inside(event, device_type == "cuda")


def _inside(event: Any, on_device: bool) -> Iterator[tuple[str, float]]:
    kind = kind_of_event(event.name)
    whole = event.device_time_total if on_device else event.cpu_time_total
    own = event.self_device_time_total if on_device else event.self_cpu_time_total
    # an annotation: its own span on the device holds its kernels' once more
    if on_device and event.name.startswith(OPTIMIZER):
        whole = sum(child.device_time_total for child in event.cpu_children)
    if kind not in (None, "unmodelled", *HOLLOW):
        yield kind, whole * MICROSECOND
        return
    if kind is not None and (on_device or kind in HOLLOW or not event.cpu_children):
        yield kind, own * MICROSECOND
    for child in event.cpu_children:
        yield from _inside(child, on_device)


def kind_of_event(name: str) -> str | None:
    """A kind of the planner; ``unmodelled`` for an operation that it does not know, None for what
    is no operation."""
    if name.startswith(OPTIMIZER):
        return "optimizer"
    space, colons, rest = name.partition("::")
    if not colons or space in ("autograd", "torch"):
        return None
    if space == "aten" and rest.startswith(ATTENTION):
        return "attention"
    kind = kind_of(f"{space}.{rest}").name
    return kind_of(f"planner.{rest}").name if kind == UNMODELLED and space != "aten" else kind


def _synchronise(device_type: str) -> None:
    import torch

    if device_type == "cuda":
        torch.cuda.synchronize()
    elif device_type == "mps":
        torch.mps.synchronize()
