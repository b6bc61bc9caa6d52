"""When and on what a calibration ran."""

from __future__ import annotations

import os
import platform
import time
from typing import Any

from planner.today import now
from planner.version import __version__


def provenance() -> dict[str, Any]:
    """Date (UTC), versions, system and clock. Without names of hosts and users: a profile is there
    to be shared."""
    started, clock = now(), time.get_clock_info("perf_counter")
    return {
        "started": started.isoformat(timespec="seconds"),
        "date": started.date().isoformat(),
        "planner": __version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "release": platform.release(),
        "architecture": platform.machine(),
        "logical_cores": os.cpu_count(),
        "clock": {"implementation": clock.implementation, "resolution_seconds": clock.resolution},
    }
