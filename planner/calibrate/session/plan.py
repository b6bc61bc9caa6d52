"""What a calibration may take: its seconds, and which share of them each stage gets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from planner.calibrate.journal import Record
from planner.errors import FieldName, QuestionError

LEAST_SECONDS, ENDLESS_SECONDS = 2.0, 1e6


@dataclass(frozen=True)
class Portion:
    """A share of a calibration's seconds, and no more than ``most_seconds``."""

    share: float
    most_seconds: float

    def of(self, seconds: float) -> float:
        return min(self.share * seconds, self.most_seconds)


#: What is measured beside the operations.
QUICK = Portion(0.20, 5.0)
HOST = Portion(0.25, 25.0)
FACTS = Portion(0.10, 6.0)
TRAINER = Portion(0.15, 15.0)
START_UP = Portion(0.15, 40.0)
LOADER = Portion(0.20, 10.0)
OUTLIERS = Portion(0.15, 20.0)


@dataclass(frozen=True)
class Plan:
    """``started``: of ``time.monotonic``, from when the seconds count. ``loader``: measures the
    input pipeline, given its seconds; None where no data was named."""

    seconds: float = 60.0
    again: bool = False
    compiled: bool = False
    started: float = field(default_factory=time.monotonic)
    loader: Callable[[float], Iterator[Record]] | None = None

    def __post_init__(self) -> None:
        if not LEAST_SECONDS <= self.seconds < ENDLESS_SECONDS:
            raise QuestionError(
                f"{self.seconds:g} s is no time to measure in",
                where=FieldName("seconds"),
                mend="15 gives a usable profile, 60 a good one",
            )
