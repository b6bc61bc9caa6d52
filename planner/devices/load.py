"""How much of a calibration was measured while something else slowed the machine, and what that
leaves of its word."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from planner import tables
from planner.errors import ProfileError

TABLE = ("priors", "calibration.csv")
#: Stands for the host's own costs among families of operations.
HOST = "host"


@cache
def calibration_prior(key: str) -> float:
    """A row of ``profiles/priors/calibration.csv``, in its unit. Raises ProfileError."""
    for row in tables.rows(*TABLE):
        if row["key"] == key:
            return float(row["value"])
    raise ProfileError(f"no row {key!r}", where="profiles/priors/calibration.csv")


@dataclass(frozen=True)
class UnderLoad:
    """What load left of a calibration. ``share``: of its operations, those for which the machine
    was never quiet; ``slowdown``: how many times slower a reference operation was meanwhile, in
    the middle (1: not at all). ``doubts``: standard deviation of the logarithm that load adds to
    the seconds of a family, and to the host's (``HOST``); ``doubt_log``: to all operations
    together."""

    share: float
    slowdown: float
    doubt_log: float
    doubts: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def is_too_much(self) -> bool:
        """Whether the datasheet says more than these measurements."""
        return self.doubt_log > calibration_prior("most_doubt_log")

    def of_step(self, busy_seconds: Mapping[str, float], host_seconds: float) -> float:
        """The doubt of one step's seconds: of each kind of operation by its busy seconds, joined
        with the host's by the share that the host has."""
        busy = sum(busy_seconds.values())
        kinds = self._kinds()
        device = (
            sum(seconds * kinds.get(kind, 0.0) for kind, seconds in busy_seconds.items()) / busy
            if busy > 0
            else 0.0
        )
        share = host_seconds / (host_seconds + busy) if host_seconds + busy > 0 else 0.0
        return math.hypot((1 - share) * device, share * self.doubts.get(HOST, 0.0))

    def _kinds(self) -> dict[str, float]:
        """Of several families of a kind the mean."""
        found: dict[str, list[float]] = {}
        for family, doubt in self.doubts.items():
            found.setdefault(family.partition(".")[0], []).append(doubt)
        return {kind: sum(doubts) / len(doubts) for kind, doubts in found.items()}

    def as_written(self) -> dict[str, Any]:
        return {
            "share": round(self.share, 4),
            "slowdown": round(self.slowdown, 3),
            "doubt_log": round(self.doubt_log, 4),
            "doubts": {name: round(doubt, 4) for name, doubt in sorted(self.doubts.items())},
        }


def read(written: Mapping[str, Any] | None) -> UnderLoad | None:
    """What ``as_written`` made; None for a profile that does not say. Raises KeyError, TypeError
    and ValueError for what it did not make."""
    if not written:
        return None
    found = UnderLoad(
        float(written["share"]),
        float(written["slowdown"]),
        float(written["doubt_log"]),
        {str(name): float(doubt) for name, doubt in written["doubts"].items()},
    )
    numbers = (found.share, found.slowdown, found.doubt_log, *found.doubts.values())
    if not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise ValueError("its load is no number that a measurement gives")
    return found
