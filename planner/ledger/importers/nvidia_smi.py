"""Logs of ``nvidia-smi --query-gpu=timestamp,name,memory.used,power.draw,… --format=csv -l
SECONDS``.

The columns carry their units (``memory.used [MiB]``), with ``nounits`` too. What the tool shows as
used is of all processes.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from planner.errors import DataError
from planner.files import open_regular
from planner.ledger.importers.found import Found, Problems
from planner.ledger.importers.text import number, plain_text, table_of
from planner.units import MIB

STAMPS = ("%Y/%m/%d %H:%M:%S.%f", "%Y/%m/%d %H:%M:%S")
LONGEST_GAP_SECONDS = 600.0  # between two lines: beyond it nobody was logging
IN_USE_BYTES = 512 * MIB  # an idle device holds less


@dataclass
class Device:
    name: str | None = None
    # seconds, bytes, watts
    lines: list[tuple[float | None, float | None, float | None]] = field(default_factory=list)


def recognises(place: Path) -> bool:
    if not place.is_file() or place.suffix.lower() not in (".csv", ".log", ".txt"):
        return False
    try:
        with open_regular(place) as handle:
            head = handle.read(2000).replace(b"\0", b"").split(b"\n")[0]
    except OSError:
        return False
    return b"memory.used" in head or b"power.draw" in head or b"utilization.gpu" in head


def read(place: Path, problems: Problems) -> Iterator[Found]:
    """One run over all devices that were in use. Raises DataError for a log without its header."""
    devices: dict[str, Device] = {}
    header_seen = False
    for row, cells in table_of(place, problems, ","):
        columns = {name.partition(" [")[0].strip(): cell for name, cell in cells.items()}
        if not header_seen and not {
            "memory.used",
            "power.draw",
            "utilization.gpu",
            "memory.total",
        } & set(columns):
            raise DataError(
                "no column of nvidia-smi",
                where=str(place),
                mend="Log with --format=csv, not csv,noheader",
            )
        header_seen = True
        try:
            _take(devices, columns)
        except ValueError as error:
            problems.say(f"{place.name} row {row}", str(error), row=True)
    used = {
        key: device
        for key, device in devices.items()
        if (peak := _peak(device)) is None or peak >= IN_USE_BYTES
    }
    used = used or devices
    if not used:
        raise DataError("a header and no line that can be read", where=str(place))
    yield _run(used, len(devices))


def _take(devices: dict[str, Device], columns: dict[str, str]) -> None:
    if columns.get("timestamp") == "timestamp" or columns.get("name") == "name":
        return  # a log that was begun again
    memory, watts = (
        number(_bare(columns.get("memory.used"), "MiB")),
        number(_bare(columns.get("power.draw"), "W")),
    )
    if (memory is not None and memory < 0) or (watts is not None and watts < 0):
        raise ValueError("a negative reading")
    if memory is None and watts is None:
        raise ValueError("neither memory nor power")
    name = plain_text(columns["name"]) if columns.get("name") else None
    key = (
        columns.get("uuid")
        or columns.get("gpu_uuid")
        or columns.get("pci.bus_id")
        or columns.get("index")
        or ""
    )
    device = devices.setdefault(key, Device(name))
    device.lines.append(
        (_seconds(columns.get("timestamp")), None if memory is None else memory * MIB, watts)
    )


def _bare(cell: str | None, unit: str) -> str | None:
    return None if cell is None else cell.removesuffix(unit).strip()


def _seconds(stamp: str | None) -> float | None:
    for layout in STAMPS:
        try:
            return (
                datetime.datetime.strptime(stamp or "", layout)
                .replace(tzinfo=datetime.UTC)
                .timestamp()
            )
        except ValueError:
            continue
    return None


def _peak(device: Device) -> float | None:
    return max((memory for _, memory, _ in device.lines if memory is not None), default=None)


def _run(devices: dict[str, Device], seen: int) -> Found:
    peaks = [peak for device in devices.values() if (peak := _peak(device)) is not None]
    moments = [
        second for device in devices.values() for second, _, _ in device.lines if second is not None
    ]
    watts = [value for device in devices.values() if (value := _mean_watts(device)) is not None]
    length = max(moments) - min(moments) if moments else 0.0
    joules = [value for device in devices.values() if (value := _joules(device)) is not None]
    names = {device.name for device in devices.values() if device.name}
    notes = [
        "the wall-clock time is the length of the log; memory is of all processes on the "
        "fullest device"
    ]
    notes += (
        [f"{seen - len(devices)} of {seen} devices were idle and are left out"]
        if seen > len(devices)
        else []
    )
    notes += ["devices of several kinds"] if len(names) > 1 else []
    known = len(devices) if all(devices) else None
    notes += [] if known else ["how many devices were logged is not known: log index or uuid too"]
    found = {
        "device_used_bytes": int(max(peaks)) if peaks and max(peaks) >= 1 else None,
        "mean_watts": sum(watts) if watts and known else None,
        "energy_joules": sum(joules)
        if known and len(joules) == len(devices) and sum(joules) > 0
        else None,
        "wall_seconds": length or None,
    }
    setup = {"gpu": names.pop() if len(names) == 1 else None, "gpus": known}
    return Found(
        "",
        {k: v for k, v in setup.items() if v is not None},
        {k: v for k, v in found.items() if v is not None},
        tuple(notes),
    )


def _mean_watts(device: Device) -> float | None:
    values = [watts for _, _, watts in device.lines if watts is not None]
    return sum(values) / len(values) if values else None


def _joules(device: Device) -> float | None:
    """Power times the time to the next line (trapezoids); None where moments or power are missing,
    or lines lie far apart."""
    lines = sorted(
        (second, watts)
        for second, _, watts in device.lines
        if second is not None and watts is not None
    )
    if len(lines) < 2 or any(
        after - before > LONGEST_GAP_SECONDS for (before, _), (after, _) in zip(lines, lines[1:])
    ):
        return None
    return sum(
        (after - before) * (low + high) / 2
        for (before, low), (after, high) in zip(lines, lines[1:])
    )
