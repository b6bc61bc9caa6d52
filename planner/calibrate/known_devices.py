"""Which devices are known by measurement, found by any name; records of
``planner.calibrate.summary`` with their file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from planner.calibrate.summary import summary
from planner.devices import profile as device_profiles
from planner.devices.profile import DeviceProfile
from planner.errors import ProfileError, QuestionError, UnknownNameError


def known() -> list[dict[str, Any]]:
    """A summary of every profile that can be read, the user's own first; each with ``file`` and
    ``shipped``."""
    return [record for record in map(_readable, device_profiles.all_files()) if record is not None]


def unreadable() -> list[str]:
    """One line for every profile that cannot be read."""
    lines = []
    for file in device_profiles.all_files():
        try:
            device_profiles.load(file)
        except ProfileError as error:
            lines.append(str(error))
    return lines


def _readable(file: Path) -> dict[str, Any] | None:
    try:
        return record(file)
    except ProfileError:
        return None


def record(file: Path) -> dict[str, Any]:
    """The summary of one profile. Raises ProfileError."""
    return {
        **summary(device_profiles.load(file)),
        "file": str(file),
        "shipped": file.parent == device_profiles.shipped_folder(),
        "own": file.parent == device_profiles.user_folder(),
    }


def find(name: str | None) -> dict[str, Any]:
    """The record of the device that a name, a key, ``local``, ``cpu`` or a file means; without a
    name the only one there is.

    A device that is known by its datasheet alone has ``basis`` datasheet. Raises UnknownNameError
    with the nearest names, QuestionError where a name could be several, ProfileError for a profile
    that cannot be read.
    """
    files = {file.stem: file for file in device_profiles.all_files()}
    if name is None:
        return record(_only(files))
    if name.lower().endswith(".json") or Path(name).is_file():
        return record(Path(name))
    if name.lower() in files:
        return record(files[name.lower()])
    wanted = name.lower()
    matches = [
        device for device in known() if wanted in device["name"].lower() or wanted in device["key"]
    ]
    if len(matches) == 1:
        return matches[0]
    if len(matches) > 1:
        raise QuestionError(
            f"{name!r} could be {', '.join(device['key'] for device in matches)}",
            mend="Name one of them",
        )
    return _of_the_table(name, files)


def _only(files: dict[str, Path]) -> Path:
    if len(files) != 1:
        raise QuestionError(
            f"which device? Measured: {', '.join(files)}"
            if files
            else "no device was measured here yet",
            mend="Name one: planner devices NAME"
            if files
            else "planner calibrate measures this one",
        )
    return next(iter(files.values()))


def _of_the_table(name: str, files: dict[str, Path]) -> dict[str, Any]:
    """By the planner's names of devices: ``local``, ``cpu``, "a100 80gb"."""
    from planner.devices.lookup import resolve_device
    from planner.devices.specification import all_devices

    try:
        spec = resolve_device(name).spec
    except UnknownNameError:
        raise UnknownNameError(
            "device",
            name,
            [*files, *(spec.key for spec in all_devices())],
            mend="planner devices lists the measured ones, planner gpus those known by datasheet",
        ) from None
    if spec.key in files:
        return record(files[spec.key])
    return {
        "key": spec.key,
        "name": spec.name,
        "basis": "datasheet",
        "file": None,
        "memory_bytes": spec.total_memory_bytes,
        "memory_bandwidth_bytes_per_s": spec.bandwidth_bytes_per_s(),
        "peak_flops_per_s": dict(spec.peak_flops),
        "sources": spec.sources,
    }


def profile_of(found: dict[str, Any]) -> DeviceProfile:
    """The profile of a record. Raises QuestionError for a device that nobody measured."""
    if not found.get("file"):
        raise QuestionError(
            "nothing was measured on it, so there is nothing to draw",
            where=found["name"],
            mend="Run planner calibrate on such a device",
        )
    return device_profiles.load(found["file"])
