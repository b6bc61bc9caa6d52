"""Power of a device in a step, from what was measured while calibrating it."""

from __future__ import annotations

import statistics

from planner.devices.specification import DeviceSpec
from planner.figures import Estimate
from planner.operations.registry import kind_named
from planner.step_time.clock import StepTime

#: Spread (standard deviation of the logarithm) of power from one minute to the next, warm or cool:
#: our prior.
SPREAD = 0.08


def mean_watts(spec: DeviceSpec, time: StepTime) -> Estimate | None:
    """Mean power over a step: each kind's own while its kernels run, the idle power while the
    device waits. None where no power was measured. A kind that was not measured takes the median of
    those that were."""
    profile = spec.calibration
    if profile is None or not profile.watts:
        return None
    usual = statistics.median(profile.watts.values())
    busy = sum(
        float(seconds) * profile.watts.get(kind, usual)
        for kind, seconds in time.by_kind.items()
        if not kind_named(kind).on_host
    )
    on_host = sum(
        float(seconds) for kind, seconds in time.by_kind.items() if kind_named(kind).on_host
    )
    waits = max(0.0, float(time.seconds) - float(time.device_busy_seconds)) + on_host
    idle = profile.facts.get("idle_watts", min(profile.watts.values()))
    span = max(float(time.seconds), float(time.device_busy_seconds))
    return Estimate.with_spread((busy + waits * idle) / span, SPREAD) if span > 0 else None
