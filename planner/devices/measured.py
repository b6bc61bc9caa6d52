"""A device as its profile knows it: the datasheet's row where there is one, what was measured where
there is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.devices import profile as profiles
from planner.devices.processors import processor_spec
from planner.devices.profile import DeviceProfile
from planner.devices.specification import (
    MEASURED_RATES,
    DeviceSpec,
    all_devices,
    with_profile,
)
from planner.errors import ProfileError
from planner.operations.registry import family_kind

_TYPES = {"float32": "fp32", "tf32": "tf32", "float16": "fp16", "bfloat16": "bf16"}


def calibrated(spec: DeviceSpec) -> DeviceSpec:
    """The device with its profile, the user's own before a shipped one; as it is without. Raises
    ProfileError for a damaged one."""
    file = profiles.find(spec.key)
    return spec if file is None else with_profile(spec, profiles.load(file))


def measured_spec(profile: DeviceProfile) -> DeviceSpec:
    """The device that a profile was measured on. Raises ProfileError for one that says too
    little."""
    device = profile.device
    try:
        spec = (
            processor_spec(device)
            if device.get("kind") == "cpu"
            else _of_the_table(device) or _from_measurements(profile)
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ProfileError(
            f"the profile does not say enough of its device: {error}",
            where=str(device.get("name")),
            mend=profiles.AGAIN,
        ) from error
    return with_profile(spec, profile)


def _of_the_table(device: Mapping[str, Any]) -> DeviceSpec | None:
    """A slice of a GPU (MIG) has its own memory and rates: the row does not speak of it."""
    if device.get("mig"):
        return None
    names = {str(device.get("key") or "").lower(), str(device["name"]).lower()}
    return next(
        (spec for spec in all_devices() if spec.key in names or spec.name.lower() in names), None
    )


def _from_measurements(profile: DeviceProfile) -> DeviceSpec:
    """A device without a row: its peaks are the best rates that were measured, so that a share of
    the peak is of these."""
    device = profile.device
    peaks: dict[str, float] = {}
    for family, curve in profile.curves.items():
        dtype = _TYPES.get(family.rpartition(".")[2])
        if dtype and family_kind(family).shows == "peak":
            peaks[dtype] = max(
                peaks.get(dtype, 0.0), max(p.flops / p.seconds for p in curve.points)
            )
    return DeviceSpec(
        key=profile.key,
        vendor=str(device.get("vendor") or "unknown"),
        name=str(device["name"]),
        total_memory_bytes=int(device["total_memory_bytes"]),
        memory_is_nominal=False,
        memory_bandwidth_bytes_per_s=profile.memory_bytes_per_s,
        peak_flops=peaks,
        tdp_watts=device.get("power_limit_watts"),
        interconnect_bytes_per_s=None,
        pcie_generation=None,
        sm_count=device.get("sm_count"),
        l2_bytes=device.get("l2_bytes"),
        compute_capability=device.get("compute_capability"),
        launch_date=None,
        basis=MEASURED_RATES,
        traps="",
        sources="device profile",
    )
