"""What explains the distance between a measured run and its estimate: by phase, by kind of
operation, by category of memory.

Everything comes from the record alone (``kind_seconds``, ``phase_seconds`` and ``category_bytes``
of its measurement and of its estimate), so that it can be asked again of any run in the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planner.ledger.record import RunRecord
from planner.measure.memory_seen import TOGETHER

#: What no operation of the device accounts for: a processor's host work, a GPU's waiting for its
#: host.
REST = "host"
PHASES = ("forward", "backward", "optimizer", "data")
MEMORY = (
    "weights",
    "gradients",
    "optimizer",
    "activations",
    "temporary",
    TOGETHER,
    "fragmentation",
    "context",
)
_TOGETHER = ("gradients", "activations", "temporary", "fragmentation")


@dataclass(frozen=True)
class Part:
    """A share of the whole, measured and estimated in one unit; None where one of them does not
    know it."""

    name: str
    measured: float | None
    estimated: float | None

    @property
    def difference(self) -> float | None:
        """Measured less estimated: what this part adds to the distance."""
        return (
            None
            if self.measured is None or self.estimated is None
            else self.measured - self.estimated
        )

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "measured": self.measured,
            "estimated": self.estimated,
            "difference": self.difference,
        }


@dataclass(frozen=True)
class Explained:
    """``phases``: seconds of a step; ``kinds``: seconds of one micro-batch with its update;
    ``memory``: bytes at the peak."""

    phases: tuple[Part, ...]
    kinds: tuple[Part, ...]
    memory: tuple[Part, ...]

    def as_dict(self) -> dict[str, Any]:
        return {
            f"{name}_{unit}": [part.as_dict() for part in getattr(self, name)]
            for name, unit in (("phases", "seconds"), ("kinds", "seconds"), ("memory", "bytes"))
        }


def explain(record: RunRecord) -> Explained:
    measured, estimated = record.measurement, record.estimate or {}
    kinds = _parts(measured.get("kind_seconds"), estimated.get("kind_seconds"))
    widest = sorted(kinds, key=lambda part: -max(part.measured or 0.0, part.estimated or 0.0))
    # the plan lets workers load beside the step
    phases = (
        Part(part.name, part.measured, None) if part.name == "data" else part
        for part in _parts(measured.get("phase_seconds"), estimated.get("phase_seconds"), PHASES)
    )
    return Explained(tuple(phases), tuple(widest), _memory(record))


def _parts(
    measured: Mapping[str, float] | None,
    estimated: Mapping[str, float] | None,
    order: tuple[str, ...] = (),
) -> tuple[Part, ...]:
    """A part that only one side has is 0 on the other, where that side was broken down at all;
    nothing without a measurement."""
    if measured is None:
        return ()
    names = [
        *order,
        *(name for side in (measured, estimated) for name in side or {} if name not in order),
    ]
    zero = None if estimated is None else 0.0
    found = (
        Part(name, measured.get(name, 0.0), (estimated or {}).get(name, zero))
        for name in dict.fromkeys(names)
    )
    return tuple(part for part in found if part.measured or part.estimated)


def _memory(record: RunRecord) -> tuple[Part, ...]:
    measured, estimated = (
        record.measurement.get("category_bytes"),
        (record.estimate or {}).get("category_bytes"),
    )
    if measured is None and record.measurement.get("out_of_memory"):
        return tuple(
            Part(name, None, estimated[name])
            for name in MEMORY
            if estimated and estimated.get(name)
        )
    if measured is not None and estimated is not None and TOGETHER in measured:
        joined = sum(estimated.get(name, 0.0) for name in _TOGETHER)
        estimated = {name: value for name, value in estimated.items() if name not in _TOGETHER} | {
            TOGETHER: joined
        }
    return _parts(measured, estimated, MEMORY)


def within(kinds: Mapping[str, float], whole_seconds: float) -> dict[str, float]:
    """The kinds with what is left of a step as ``host``, so that they sum to it. Where a profiler's
    own cost makes them more than the step they are scaled down to it."""
    total = sum(kinds.values())
    if total > whole_seconds:
        return {kind: seconds * whole_seconds / total for kind, seconds in kinds.items()}
    return {**kinds, REST: kinds.get(REST, 0.0) + whole_seconds - total}
