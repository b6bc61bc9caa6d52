"""How a calibration ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.devices.profile import DeviceProfile


@dataclass(frozen=True)
class Outcome:
    """``stopped``: why it ended before its time, one line, None otherwise; ``exit_code`` says which
    kind of end."""

    path: Path
    journal: Path
    profile: DeviceProfile
    measured: int
    remembered: int
    failed: int
    left: int
    elapsed_seconds: float
    notes: tuple[str, ...] = ()
    stopped: str | None = None
    exit_code: int = 0


class Ended(Exception):
    """The run is over before its time. Not an error of what is measuring, so nothing on the way
    catches it."""

    def __init__(self, why: str, exit_code: int) -> None:
        super().__init__(why)
        self.exit_code = exit_code


def outcome_summary(outcome: Outcome) -> dict[str, Any]:
    """What a run says of itself; ``stopped`` is why it ended before its time, None otherwise."""
    return {
        "measured": outcome.measured,
        "remembered": outcome.remembered,
        "failed": outcome.failed,
        "left": outcome.left,
        "elapsed_seconds": outcome.elapsed_seconds,
        "stopped": outcome.stopped,
        "notes": list(outcome.notes),
        "raw": str(outcome.journal),
    }
