"""Slurm's accounting: ``sacct -P -o
JobID,JobName,Elapsed,AllocTRES,MaxRSS,ConsumedEnergyRaw,TRESUsageInMax,State``.

Formats: slurm.schedmd.com/sacct.html. Names of jobs and users stay where they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from planner.errors import DataError
from planner.files import open_regular
from planner.ledger.importers.found import Found, Problems
from planner.ledger.importers.text import number, table_of

_SIZES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_THOUSANDS = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9}
NO_ENERGY = 2**63  # Slurm writes NO_VAL64 where it measured none


def recognises(place: Path) -> bool:
    if not place.is_file():
        return False
    try:
        with open_regular(place) as handle:
            head = handle.read(2000).replace(b"\0", b"").split(b"\n")[0]
    except OSError:
        return False
    return b"JobID|" in head and b"Elapsed" in head


def read(place: Path, problems: Problems) -> Iterator[Found]:
    """A run for each job with devices; its steps (``.batch``, ``.0``) are part of it. Raises
    DataError."""
    jobs: dict[str, list[dict[str, str]]] = {}
    for row, cells in table_of(place, problems, "|"):
        job = cells.get("JobID", "").partition(".")[0]
        if not job:
            problems.say(f"{place.name} row {row}", "no JobID", row=True)
            continue
        jobs.setdefault(job, []).append(cells)
    if not jobs:
        raise DataError("no job in it", where=str(place), mend="Write it with sacct -P")
    for job, lines in jobs.items():
        try:
            yield _run(job, lines)
        except ValueError as error:
            problems.say(f"{place.name} job {job}", str(error), row=True)


def _run(job: str, lines: list[dict[str, str]]) -> Found:
    whole = next((line for line in lines if "." not in line.get("JobID", "")), lines[0])
    gpus, gpu = devices_of(whole.get("AllocTRES") or whole.get("AllocGRES") or "")
    energy = [value for line in lines if (value := _joules(line)) is not None]
    resident = [value for line in lines if (value := _sized(line.get("MaxRSS"))) is not None]
    memory = [
        value
        for line in lines
        if (value := _sized(_tres(line.get("TRESUsageInMax", ""), "gres/gpumem"))) is not None
    ]
    state = whole.get("State", "").partition(" ")[0]
    notes = [f"Slurm says {state}"] if state and state != "COMPLETED" else []
    notes += ["the wall-clock time is the job's: starting up and saving are in it"]
    notes += ["the host's memory ran out, not a device's"] if state.startswith("OUT_OF_ME") else []
    found: dict[str, Any] = {
        "wall_seconds": seconds_of(whole.get("Elapsed", "")),
        "energy_joules": max(energy, default=None),
        "host_peak_bytes": max(resident, default=None),
        "device_used_bytes": max(memory, default=None) or None,
    }
    if found["energy_joules"] is not None:
        notes.append("the energy is the nodes'")
    return Found(
        f"job {job}",
        {name: value for name, value in (("gpus", gpus), ("gpu", gpu)) if value},
        {k: v for k, v in found.items() if v is not None},
        tuple(notes),
    )


def devices_of(tres: str) -> tuple[int | None, str | None]:
    """``billing=8,gres/gpu:a100=4,gres/gpu=4`` → (4, "a100"); ``gpu:h100:2`` of older releases →
    (2, "h100")."""
    total = re.search(r"(?:^|,)gres/gpu=(\d{1,6})(?:,|$)", tres)
    typed = re.findall(r"(?:^|,)(?:gres/)?gpu:([\w.-]+)[=:](\d{1,6})", tres)
    plain = re.search(r"(?:^|,)gpu:(\d{1,6})(?:,|$)", tres)
    count = (
        int(total[1])
        if total
        else sum(int(n) for _, n in typed)
        if typed
        else int(plain[1])
        if plain
        else None
    )
    return count, typed[0][0] if len({name for name, _ in typed}) == 1 else None


def seconds_of(elapsed: str) -> float | None:
    """``[days-]hours:minutes:seconds[.fraction]``; None where nothing stands or no time passed.
    Raises ValueError."""
    if not elapsed:
        return None
    match = re.fullmatch(r"(?:(\d{1,5})-)?(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2}(?:\.\d+)?)", elapsed)
    if match is None:
        raise ValueError(f"Elapsed: {elapsed[:40]!r} is not [days-]hours:minutes:seconds")
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds or None


def _tres(text: str, name: str) -> str | None:
    return next(
        (part.partition("=")[2] for part in text.split(",") if part.partition("=")[0] == name), None
    )


def _sized(text: str | None) -> int | None:
    """``12345K``, ``1.5G``. Raises ValueError."""
    if not text:
        return None
    digits, unit = _split_unit(text, "KMGT")
    value = number(digits)
    if value is not None and value < 0:
        raise ValueError(f"{text[:40]!r} is below 0")
    return None if value is None else round(value * _SIZES[unit]) or None


def _split_unit(text: str, units: str) -> tuple[str, str]:
    """``("1.5", "G")``; no unit is an empty one."""
    return (text[:-1], text[-1]) if text[-1:] in tuple(units) else (text, "")


def _joules(line: dict[str, str]) -> float | None:
    raw, short = line.get("ConsumedEnergyRaw"), line.get("ConsumedEnergy") or ""
    digits, unit = _split_unit(short, "KMG")
    value = number(raw) if raw else number(digits)
    value = value if raw or value is None else value * _THOUSANDS[unit]
    if value is not None and value < 0:
        raise ValueError("ConsumedEnergy is below 0")
    return value if value and value < NO_ENERGY else None
