"""Measure a training step on the local device: really train for some seconds, and keep what the
clocks and counters said.

Steps follow each other without a pause, as in a run. Warm-up is apart, and it stops when the median
is known well enough: its relative standard error below ``SURE``, or the time is up. Running out of
memory is a result.
"""

from __future__ import annotations

import math
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from planner.blame import failure
from planner.errors import FieldName, MachineError, PlannerError, QuestionError
from planner.measure.marks import marks_for
from planner.measure.real_step import RealStep, is_out_of_memory, release, tf32
from planner.models.facts import ModelFacts
from planner.training.recipe import Recipe

SURE = 0.01  # relative standard error of the median at which a measurement is done
WARM_UP_STEPS = 2  # at least: the first makes the optimizer's state
WARM_UP_SHARE = 1 / 3  # of the time, at most
STEADY = 0.2  # two warm-up steps that agree so well end it
GROUP_SECONDS, GROUP_STEPS = 0.5, 50  # between two waits for a pipelined device


@dataclass(frozen=True)
class MeasuredRun:
    """What a run of some steps showed. Times in seconds on the device's clock, None where it ran
    out of memory; ``forward_seconds`` is one micro-batch's forward pass; ``wall_step_seconds`` is
    the wall clock's share a step, with the waits between groups of steps. Memory in bytes, as
    torch's allocator counts it, None on a device without those counters; ``device_used_bytes`` is
    everything that lies on the device, other processes included."""

    device: str
    device_name: str
    versions: dict[str, str]
    steps: int
    out_of_memory: bool = False
    step_seconds: float | None = None
    step_p10_seconds: float | None = None
    step_p90_seconds: float | None = None
    forward_seconds: float | None = None
    wall_step_seconds: float | None = None
    relative_error: float | None = None  # standard error of the median, relative
    peak_allocated_bytes: int | None = None
    peak_reserved_bytes: int | None = None
    device_used_bytes: int | None = None
    samples_seconds: tuple[float, ...] = field(default=(), repr=False)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def measure(
    facts: ModelFacts,
    recipe: Recipe,
    device: str = "cpu",
    *,
    micro_batch: int,
    sequence_length: int | None = None,
    target_length: int | None = None,
    accumulation: int = 1,
    teacher: ModelFacts | None = None,
    seconds: float = 10.0,
    min_steps: int = 5,
    progress: Callable[[str, int, int], None] | None = None,
) -> MeasuredRun:
    """Train ``facts`` with random weights on synthetic data on ``device`` (cpu | cuda | cuda:N |
    mps) and time its steps.

    ``seconds`` bounds warm-up and timing together (building comes on top); at least ``min_steps``
    are timed whatever it takes. Raises MachineError for a device that is not there or fails, the
    errors of building a model, and ModelError in one line when the model's own code fails.
    """
    import torch

    from planner.trace.recorder.dispatch_mode import quiet

    _check(device, micro_batch, accumulation, seconds, min_steps)
    kind = torch.device(device).type
    run = MeasuredRun(device, device_name(device), _versions(facts.library), steps=0)
    try:
        with quiet(), torch.random.fork_rng(_rng_devices(device)), tf32(recipe.precision == "tf32"):
            torch.manual_seed(0)
            step = RealStep(
                facts,
                recipe,
                device,
                micro_batch=micro_batch,
                sequence_length=sequence_length,
                target_length=target_length,
                accumulation=accumulation,
                teacher=teacher,
            )
            _reset_peak(kind, device)
            timed = time_steps(
                step, marks_for(device), seconds=seconds, min_steps=min_steps, progress=progress
            )
            return replace(run, **timed, **_memory(kind, device))
    except PlannerError:
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise failure(error, "when it is trained", facts.name) from error
        error.__traceback__ = None  # its frames hold the model
        return replace(run, out_of_memory=True)
    finally:
        step = None
        release(kind)


def time_steps(
    step: Callable[[Callable[[str], None]], None],
    marks: Any,
    *,
    seconds: float,
    min_steps: int = 5,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Run ``step(mark)`` until its median time is known to ``SURE`` or ``seconds`` are over: the
    timing fields of a MeasuredRun."""
    begin = time.perf_counter()
    usual = _warm_up(step, marks, seconds * WARM_UP_SHARE)
    size = _group_size(usual) if marks.pipelined else 1
    samples: list[float] = []
    forwards: list[float] = []
    walls: list[float] = []
    while len(samples) < min_steps or (
        time.perf_counter() - begin < seconds and not relative_error(samples) < SURE
    ):
        group, forward, wall = _group(step, marks, size)
        samples += group
        forwards += forward
        walls.append(wall)
        if progress:
            progress(
                "training", int(1000 * min(1.0, (time.perf_counter() - begin) / seconds)), 1000
            )
    low, high = _ends(samples)
    return dict(
        steps=len(samples),
        step_seconds=statistics.median(samples),
        step_p10_seconds=low,
        step_p90_seconds=high,
        forward_seconds=statistics.median(forwards),
        wall_step_seconds=statistics.median(walls),
        relative_error=relative_error(samples),
        samples_seconds=tuple(samples),
    )


def _warm_up(step: Callable, marks: Any, budget_seconds: float) -> float:
    """Run until two steps agree; returns the last one's wall seconds."""
    begin, before, done = time.perf_counter(), math.inf, 0
    while True:
        start = time.perf_counter()
        step(lambda name: None)
        marks.synchronise()
        now, done = time.perf_counter() - start, done + 1
        steady = abs(now - before) <= STEADY * now
        if done >= WARM_UP_STEPS and (steady or time.perf_counter() - begin > budget_seconds):
            return now
        before = now


def _group_size(step_seconds: float) -> int:
    """Steps between two waits: enough that the host can run ahead, few enough that the time limit
    is kept."""
    return max(3, min(GROUP_STEPS, round(GROUP_SECONDS / max(step_seconds, 1e-6))))


def _group(step: Callable, marks: Any, size: int) -> tuple[list[float], list[float], float]:
    """(device seconds of each step, of each forward pass, wall seconds a step). After a wait the
    host is not ahead yet: the first step of a pipelined group is left out."""
    moments: list[dict[str, Any]] = []
    wall, begin = time.perf_counter(), marks.mark()
    for _ in range(size):
        passed: dict[str, Any] = {"begin": begin}
        step(lambda name, passed=passed: passed.__setitem__(name, marks.mark()))
        moments.append(passed)
        begin = passed["end"]
    marks.synchronise()
    wall = (time.perf_counter() - wall) / size
    kept = moments[1:] if marks.pipelined else moments
    return (
        [marks.seconds(m["begin"], m["end"]) for m in kept],
        [marks.seconds(m["begin"], m["forward"]) for m in kept],
        wall,
    )


def relative_error(samples: list[float]) -> float:
    """Standard error of the median relative to it, from the quartiles' distance (normal: 1.253 ·
    IQR/1.349 / √n), which single disturbed steps do not move. Infinite for fewer than four samples.
    """
    if len(samples) < 4:
        return math.inf
    low, middle, high = statistics.quantiles(samples, n=4)
    return 1.2533 * (high - low) / 1.349 / math.sqrt(len(samples)) / middle


def _ends(samples: list[float]) -> tuple[float, float]:
    if len(samples) < 2:
        return samples[0], samples[0]
    tenths = statistics.quantiles(samples, n=10, method="inclusive")
    return tenths[0], tenths[-1]


def _check(
    device: str, micro_batch: int, accumulation: int, seconds: float, min_steps: int
) -> None:
    import torch

    if min(micro_batch, accumulation, min_steps) < 1 or not seconds > 0:
        raise QuestionError("micro-batch, accumulation, steps and seconds must be positive")
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise QuestionError(f"no device {device!r}", mend="Use cpu, cuda, cuda:1 or mps") from error
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (wanted.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(wanted.type, False):
        raise MachineError(
            f"this machine has no device {device!r}, or torch is built without it",
            mend=f"Use {FieldName('device')} cpu",
        )


def _rng_devices(device: str) -> list[int]:
    import torch

    return [torch.device(device).index or 0] if torch.device(device).type == "cuda" else []


def _reset_peak(kind: str, device: str) -> None:
    """The peak counts from the finished model on: its weights lie there, what building it took does
    not count."""
    import torch

    release(kind)
    if kind == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _memory(kind: str, device: str) -> dict[str, int]:
    import torch

    if kind != "cuda":
        return {}
    free, total = torch.cuda.mem_get_info(device)
    return dict(
        peak_allocated_bytes=torch.cuda.max_memory_allocated(device),
        peak_reserved_bytes=torch.cuda.max_memory_reserved(device),
        device_used_bytes=total - free,
    )


def device_name(device: str) -> str:
    """What the driver calls the device; of a processor its model."""
    import torch

    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(
            line.partition(":")[2].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _versions(library: str) -> dict[str, str]:
    import torch

    from planner.trace.versions import versions

    found = {**versions(library), "python": platform.python_version()}
    if torch.version.cuda:
        found["cuda"] = torch.version.cuda
    return found
