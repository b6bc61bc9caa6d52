"""Host time of small programs, and which operations they issue: the tools of ``costs.py``.

On a GPU the host's clock runs while the device works; on a plain processor both are one, so what
the bare operators take is measured apart and taken off.
"""

from __future__ import annotations

import contextlib
import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from planner.operations.registry import kind_of

if TYPE_CHECKING:
    from planner.calibrate.operations.backends import Backend

FEWEST_ROUNDS = 5
ROUND_SECONDS = 5e-4  # of a loop over tiny programs, so that reading the clock does not count
MOST_LAUNCHES = 400  # between two waits for the device: its queue holds about a thousand
_WARM_UP = 3
Sample = Callable[[], float]
#: Operator, arguments, keyword arguments.
Call = tuple[Any, tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class Issued:
    """Operations that a program issued below autograd: ``calls`` as (operator, arguments, keyword
    arguments), views apart."""

    calls: tuple[Call, ...]
    views: int

    @property
    def launches(self) -> int:
        return len(self.calls)

    def on_tensors(self) -> Issued:
        """Without what works on single numbers: an optimizer's counts of steps, which lie on the
        host and in no trace."""
        return Issued(
            tuple(call for call in self.calls if any(t.dim() for t in tensors_in(call[1]))),
            self.views,
        )

    def replay(self) -> None:
        for operator, args, kwargs in self.calls:
            operator(*args, **kwargs)


class _Listening(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.views = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kind = kind_of(str(func))
        if func.namespace == "profiler":  # marks around an optimizer's step
            pass
        elif kind.runs_kernel:
            self.calls.append((func, args, dict(kwargs or {})))
        elif not kind.host_waits:
            self.views += 1
        return func(*args, **(kwargs or {}))


def tensors_in(value: Any) -> list[torch.Tensor]:
    """Every tensor of an operation's arguments, lists' members included."""
    if isinstance(value, torch.Tensor):
        return [value]
    return (
        [tensor for item in value for tensor in tensors_in(item)]
        if isinstance(value, (list, tuple))
        else []
    )


def issued(action: Callable[[], Any]) -> Issued:
    """What one run of ``action`` issues, its backward passes included."""
    with _Listening() as listening:
        action()
    return Issued(tuple(listening.calls), listening.views)


def looping(action: Callable[[], Any], backend: Backend, launches: int = 1) -> Sample:
    """A sample is the host's seconds of one call, in a loop of calls that each issue ``launches``
    kernels."""
    for _ in range(_WARM_UP):
        action()
    backend.synchronise()
    start = time.perf_counter()
    for _ in range(_WARM_UP):
        action()
    each = (time.perf_counter() - start) / _WARM_UP
    repeats = int(
        min(max(1, MOST_LAUNCHES // max(1, launches)), max(1, ROUND_SECONDS / max(each, 1e-8)))
    )

    def sample() -> float:
        backend.synchronise()
        start = time.perf_counter()
        for _ in range(repeats):
            action()
        return (time.perf_counter() - start) / repeats

    return sample


def prepared(prepare: Callable[[], Any], action: Callable[[Any], Any], backend: Backend) -> Sample:
    """A sample is the host's seconds of ``action(prepare())``, of the action alone."""
    action(prepare())

    def sample() -> float:
        ready = prepare()
        backend.synchronise()
        start = time.perf_counter()
        action(ready)
        return time.perf_counter() - start

    return sample


def replaying(what: Issued, backend: Backend) -> Sample:
    """What the operators alone take where host and device are one processor; 0 on a device with a
    queue of its own."""
    if backend.kind != "cpu" or not what.calls:
        return lambda: 0.0
    with torch.no_grad():
        loop = looping(what.replay, backend, what.launches)

    def sample() -> float:
        with torch.no_grad():
            return loop()

    return sample


def by_turns(samples: Sequence[Sample], seconds: float) -> list[list[float]]:
    """Rounds of each, taken in turns so that a drift of the machine falls on all: one list of
    samples for each."""
    taken: list[list[float]] = [[] for _ in samples]
    with undisturbed():
        end = time.perf_counter() + seconds
        while len(taken[0]) < FEWEST_ROUNDS or time.perf_counter() < end:
            for sample, into in zip(samples, taken):
                into.append(sample())
    return taken


@contextlib.contextmanager
def one_thread(backend: Backend) -> Iterator[None]:
    """Tiny operators on a processor do not wait for a pool of threads: enqueuing is the work of
    one."""
    before = torch.get_num_threads()
    try:
        if backend.kind == "cpu":
            torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(before)


def host_record(
    name: str,
    value: float,
    samples: list[float] | None = None,
    unit: str = "s",
    **more: Any,
) -> dict[str, Any]:
    """A line of the journal. ``samples``: gross seconds of the rounds that it comes from."""
    record = {
        "record": "host",
        "name": name,
        "value": value,
        "unit": unit,
        **more,
    }
    if samples:
        ordered = sorted(samples)
        record |= {
            "gross_seconds": statistics.median(samples),
            "low": ordered[len(ordered) // 10],
            "high": ordered[-1 - len(ordered) // 10],
            "rounds": len(samples),
        }
    return record


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Without the garbage collector, whose pauses are longer than what is measured."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
