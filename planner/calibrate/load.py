"""Which of a journal's measurements were made while something else slowed the machine.

A reference operation is timed before and after every group of measurements (records
``reference``: mean and best seconds of a visit's passes). How fast it goes on the quiet machine is
learnt from all visits: the best pass ever seen falls between two turns of the scheduler even under
load. What was measured beside slow visits counts only where nothing better is there: an operation
of short calls by its least sample, which load cannot make faster; everything else is left out.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planner.calibrate.priors import prior

Record = dict[str, Any]
#: Parts of a machine that have a reference operation of their own.
DEVICE, HOST = "device", "host"
QUANTILE = 0.1


@dataclass(frozen=True)
class Quiet:
    """Of one part, on the machine when nothing else runs: seconds of the reference, its best pass,
    and the highest clock that was seen (None where none is told)."""

    mean: float
    least: float
    clock_mhz: float | None

    def slowdown(self, visit: Mapping[str, Any]) -> float:
        """How many times slower a visit was for another reason than the device's own clocks, which
        training meets too."""
        clock = visit.get("clock_mhz")
        own = self.clock_mhz / clock if self.clock_mhz and clock else 1.0
        return max(1.0, visit["mean"] / self.mean / max(1.0, own))

    def least_slowdown(self, visit: Mapping[str, Any]) -> float:
        return max(1.0, visit["least"] / self.least)


def quiet_of(visits: Iterable[Mapping[str, Any]]) -> Quiet | None:
    """From the visits of one part; None without any."""
    there = list(visits)
    if not there:
        return None
    means, least = sorted(v["mean"] for v in there), min(v["least"] for v in there)
    mean = min(means[int(QUANTILE * (len(means) - 1))], prior("reference_natural") * least)
    clocks = [v["clock_mhz"] for v in there if v.get("clock_mhz")]
    return Quiet(mean, least, max(clocks, default=None))


def quiet_parts(records: Iterable[Record]) -> dict[str, Quiet]:
    visits: dict[str, list[Record]] = {}
    for record in records:
        if record["record"] == "reference":
            visits.setdefault(record["of"], []).append(record)
    return {part: quiet for part, found in visits.items() if (quiet := quiet_of(found))}


def is_slow(slowdown: float) -> bool:
    return slowdown > prior("reference_slower")


def judged(records: Sequence[Record]) -> list[Record]:
    """The records that count, in their order. What was measured under load and has a quiet
    measurement beside it is gone; what has none is there by its least sample (with ``doubt``), or
    as a record ``left_out``. Records that no visit stands beside count as they are."""
    loads = _loads(records)
    quiet = {
        name
        for index, record in enumerate(records)
        if (name := _named(record)) and not is_slow(loads.get(index, _ALONE).mean)
    }
    found: list[Record] = []
    least: dict[tuple[str, str], Record] = {}
    out: dict[tuple[str, str], Record] = {}
    for index, record in enumerate(records):
        name, load = _named(record), loads.get(index, _ALONE)
        if name is None or not is_slow(load.mean):
            found.append(record)
        elif name not in quiet:
            by_least = _by_least(record, load)
            if by_least is None:
                _keep(out, name, _left_out(record, load), "slowdown")
            else:
                _keep(least, name, by_least, "seconds")
    return [*found, *least.values(), *(r for name, r in out.items() if name not in least)]


def quiet_keys(records: Sequence[Record]) -> set[str]:
    """Operations that need not be timed again."""
    loads = _loads(records)
    return {
        record["key"]
        for index, record in enumerate(records)
        if record["record"] == "operation"
        and record.get("seconds") is not None
        and not is_slow(loads.get(index, _ALONE).mean)
    }


# ---- what stood beside a record


@dataclass(frozen=True)
class _Load:
    mean: float
    least: float


_ALONE = _Load(1.0, 1.0)


def _loads(records: Sequence[Record]) -> dict[int, _Load]:
    """Of each measurement's place, the slower of the visits before and after it in its session."""
    quiet = quiet_parts(records)
    found: dict[int, _Load] = {}
    since: list[int] = []
    before: _Load | None = None
    for index, record in enumerate(records):
        kind = record["record"]
        if kind == "session":
            found |= _joined(since, before, None)
            since, before = [], None
        elif kind == "reference":
            now = quiet[record["of"]]
            after = _Load(now.slowdown(record), now.least_slowdown(record))
            found |= _joined(since, before, after)
            since, before = [], after
        elif _named(record):
            since.append(index)
    return found | _joined(since, before, None)


def _joined(places: list[int], before: _Load | None, after: _Load | None) -> dict[int, _Load]:
    there = [load for load in (before, after) if load is not None]
    if not there:
        return {}
    both = _Load(max(load.mean for load in there), max(load.least for load in there))
    return dict.fromkeys(places, both)


def _named(record: Record) -> tuple[str, str] | None:
    """What is measured in time; None for records that load does not change."""
    kind = record["record"]
    if kind == "operation":
        return (kind, record["key"]) if record.get("seconds") is not None else None
    if kind == "host":
        return kind, str(record["name"])
    if kind == "fact" and str(record.get("unit", "")).rpartition("/")[2] == "s":
        return kind, str(record["name"])
    return None


def _by_least(record: Record, load: _Load) -> Record | None:
    """An operation by its least sample; None where load lies on that too."""
    samples = record.get("samples") or ()
    if record["record"] != "operation" or is_slow(load.least):
        return None
    if len(samples) < prior("least_samples"):
        return None
    least = min(samples)
    calls = max(1.0, (record.get("repeats") or 0) / len(samples))
    if least * calls > prior("least_sample_seconds"):
        return None
    return {
        **record,
        "seconds": least,
        "low": least,
        "high": statistics.median(samples),
        "samples": [least],
        "slowdown": load.mean,
        "doubt": prior("least_doubt_share") * math.log(load.mean),
    }


def _left_out(record: Record, load: _Load) -> Record:
    names = {name: record[name] for name in ("key", "case", "name") if name in record}
    return {
        "record": "left_out",
        "of": record["record"],
        **names,
        "slowdown": load.mean,
        "doubt": math.log(load.mean),
    }


def _keep(found: dict[tuple[str, str], Record], name: Any, record: Record, by: str) -> None:
    before = found.get(name)
    if before is None or record[by] < before[by]:
        found[name] = record
