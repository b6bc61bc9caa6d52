"""Measured collectives into the profile of their device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from planner.calibrate.retention import identified
from planner.calibrate.session.provenance import provenance
from planner.devices import profile as profiles
from planner.devices.collectives import CollectiveCurve, merged
from planner.devices.profile import DeviceProfile
from planner.errors import QuestionError


def device_of(backend: str) -> dict[str, Any]:
    """What the planner calls the device that sends: a GPU under NCCL, the processor under gloo.
    Raises MachineError where there is none."""
    from planner.calibrate.operations.backends import backend as operations_backend

    return identified(operations_backend("cuda" if backend == "nccl" else "cpu").facts())


def known_profile(device: dict[str, Any], out: Path | None) -> tuple[DeviceProfile, Path]:
    """(the profile so far, the file to write): what is at ``out``, the user's own of the device, a
    shipped one, or an empty one. Raises ProfileError for a file that cannot be read, QuestionError
    for a device that nothing but its collectives would be known of, or that ``out`` is not of."""
    key = profiles.file_name(device)
    file = out or profiles.user_folder() / f"{key}.json"
    found = file if file.is_file() else profiles.find(key)
    if found is not None:
        known = profiles.load(found)
        if known.key != key:
            raise QuestionError(
                f"it is a profile of {known.device['name']}, not of {device['name']}",
                where=str(found),
                mend="Name another file with --out",
            )
        return known, file
    if device.get("kind") != "cpu" and not device.get("key"):
        raise QuestionError(
            "it is neither in the table of GPUs nor calibrated",
            where=str(device["name"]),
            mend="Run planner calibrate first",
        )
    return DeviceProfile(device=device, provenance=provenance(), curves={}), file


def kept(profile: DeviceProfile, file: Path, curves: Sequence[CollectiveCurve]) -> Path:
    """Written whole or not at all; curves of the same operation, ranks and machines are replaced.
    Raises MachineError when the disk refuses."""
    return profiles.save(replace(profile, collectives=merged(profile.collectives, curves)), file)
