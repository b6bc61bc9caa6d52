"""How well recorded steps were understood, in figures and in words: what is left out stands
first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from planner.errors import FieldName
from planner.units import GIB

NAMED, LEAST_NAMED, LEAST_OVERLAP = 5, 0.0005, 0.01
#: Below this share of the time, medians leave out what a reader should know of.
LEAST_USUAL = 0.9
PHASES = {"forward": "forward pass", "backward": "backward pass", "optimizer": "update"}


@dataclass(frozen=True)
class Missed:
    """What was not understood: ``seconds`` of a step, ``share`` of what the step computes."""

    name: str
    why: str
    seconds: float
    share: float


@dataclass(frozen=True)
class Reading:
    """How well traces were understood. Seconds are of a step on average; ``understood_share``: of
    what the device computed, collectives apart; ``usual_share``: of what was understood, what the
    medians of its operations come to. ``marked``: whether the profiler marked the steps;
    ``timeless_events``: operations and kernels whose times are none, left out."""

    step_seconds: float
    steps: int
    busy_share: float
    idle_seconds: float
    computed_seconds: float
    communication_seconds: float
    understood_share: float
    by_order_share: float
    usual_share: float
    by_kind: dict[str, float]
    by_phase: dict[str, float]
    missed: tuple[Missed, ...]
    launch_latency_seconds: float | None
    stream_overlap_share: float
    peak_allocated_bytes: int | None
    peak_reserved_bytes: int | None
    marked: bool
    timeless_events: int
    has_shapes: bool
    has_stacks: bool
    host_taken: bool
    order_doubt: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "missed": [vars(missed) for missed in self.missed]}


def doubts(reading: Reading) -> Iterator[dict[str, Any]]:
    if _worth_naming(reading.missed):
        yield {
            "record": "trust",
            "what": f"{1 - reading.understood_share:.1%} of the recorded time was not understood: "
            f"{named(reading.missed)}",
            "mend": _mend(reading),
        }
    if reading.order_doubt and reading.by_order_share:
        yield {
            "record": "trust",
            "what": reading.order_doubt,
            "mend": f"Name what was recorded with {FieldName('question')}",
        }
    if reading.host_taken:
        yield {
            "record": "trust",
            "what": "the host's time is of a run under a profiler, which slows the host by a "
            "factor that no trace tells",
            "mend": "Run planner calibrate on the machine itself",
        }


def _mend(reading: Reading) -> str:
    if not reading.has_shapes:
        return "Record with record_shapes=True"
    if not reading.by_order_share:
        return (
            "No profiler records the sizes of lists of tensors; "
            f"{FieldName('question')} project.yaml of the run lends them"
        )
    return "planner calibrate on the machine itself measures them"


def _gaps(reading: Reading) -> Iterator[str]:
    """What a training step has and the recorded ones have not, and how their ends were told."""
    absent = [word for phase, word in PHASES.items() if not reading.by_phase.get(phase)]
    if absent:
        yield f"No {' and no '.join(absent)} was recorded: the profile knows nothing of them"
    if not reading.marked:
        yield "The trace marks no steps: " + (
            "each is taken to end with an optimizer's update"
            if reading.steps > 1
            else "all of it is taken as one"
        )
    if reading.usual_share < LEAST_USUAL:
        yield (
            f"The medians of its operations come to {reading.usual_share:.1%} of their time: some "
            "took far longer than usual, as beside other programs; the profile holds the medians"
        )
    if reading.order_doubt and reading.by_order_share:
        yield f"Doubtful: {reading.order_doubt}"
    if reading.timeless_events:
        yield (
            f"Left out: {reading.timeless_events} operations or kernels whose times are no times"
        )


def _worth_naming(missed: Iterable[Missed]) -> list[Missed]:
    return [one for one in missed if one.share >= LEAST_NAMED]


def named(missed: Iterable[Missed]) -> str:
    found = _worth_naming(missed)
    named = [f"{m.name[:60]} ({m.share:.1%}, {m.why})" for m in found[:NAMED]]
    more = len(found) - len(named)
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")


def first_lines(reading: Reading) -> list[str]:
    """What to know of a reading before its profile."""
    lines = [
        f"Understood {reading.understood_share:.1%} of the device's time of a step"
        + (f", {reading.by_order_share:.1%} by order" if reading.by_order_share else ""),
        f"Step {reading.step_seconds * 1e3:.3f} ms ({reading.steps} recorded), "
        f"device busy {reading.busy_share:.1%}, idle {reading.idle_seconds * 1e3:.3f} ms",
        *_gaps(reading),
    ]
    if _worth_naming(reading.missed):
        lines.append(f"Not understood: {named(reading.missed)}")
    if reading.communication_seconds:
        lines.append(
            f"Collectives took {reading.communication_seconds * 1e3:.3f} ms of a step: they wait "
            "for other devices and are no part of a device's profile"
        )
    if reading.stream_overlap_share >= LEAST_OVERLAP:
        lines.append(
            f"Streams overlap: {reading.stream_overlap_share:.1%} of the device's work ran beside "
            "other work, and may have taken longer for it"
        )
    if reading.peak_allocated_bytes is not None:
        held = reading.peak_reserved_bytes
        lines.append(
            f"Memory at its peak: {reading.peak_allocated_bytes / GIB:.3f} GiB allocated"
            + (f", {held / GIB:.3f} GiB reserved" if held else "")
        )
    lines.append(
        "Host costs are taken as recorded: upper bounds, since a profiler slows the host"
        if reading.host_taken
        else "Host costs are not taken: a profiler slows the host"
        + (" several-fold with stacks, as here" if reading.has_stacks else "")
        + ", by a factor no trace tells; estimates take the usual ones"
    )
    return lines
