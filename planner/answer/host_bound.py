"""What sets a step's pace, host or device, and what would quicken it."""

from __future__ import annotations

from planner import units
from planner.devices.priors import prior
from planner.devices.specification import DeviceSpec
from planner.errors import FieldName
from planner.plan.inputs.rows import default
from planner.step_time.clock import StepTime

LARGEST_FACTOR = 64


def host_bound_advice(
    spec: DeviceSpec, time: StepTime, micro_batch: int, compiled: bool
) -> str | None:
    """One sentence where the device waits for the host, None where it does not (or is the host).
    The bounds follow from the two clocks: kernels alone for CUDA graphs, the host's time times the
    prior of ``compile`` for torch.compile, and the batch at which the kernels of one step (taken to
    grow with it) last as long as the host needs."""
    seconds, busy, host = (
        float(time.seconds),
        float(time.device_busy_seconds),
        float(time.host_seconds),
    )
    if spec.one_clock or seconds - busy < default("worthwhile_idle_share")[0] * seconds:
        return None
    factor = min(LARGEST_FACTOR, host / max(busy, 1e-9))
    means = [f"CUDA graphs bring a step to {units.format_seconds(busy)} at best"]
    if not compiled:
        means.append(
            f"{FieldName('compile')} to about "
            f"{units.format_seconds(max(busy, host * prior(spec, 'compile', 'host_share')))}"
        )
    if factor > 1.2:
        means.append(f"a micro-batch of about {round(micro_batch * factor)} keeps the device busy")
    return (
        f"the device waits for the host: {units.format_seconds(busy)} of kernels in a step of "
        f"{units.format_seconds(seconds)}, a faster GPU would not help; " + ", ".join(means)
    )
