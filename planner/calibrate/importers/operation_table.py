"""Tables of timed operations become journal records: one CSV row a timed call, times in
microseconds.

Columns that are read: ``status``, ``op``, ``direction``, ``dtype``, ``shape`` (a JSON object of
sizes), ``device_us_median``, ``device_us_p10``, ``device_us_p90``, ``host_us_median``, ``repeats``,
``device`` and ``torch``; others are ignored. A row that timed several kernels together (an
optimizer's step, a cross-entropy) becomes a record of each, its time shared by the bytes that each
moves: all of them are bound by memory. Rows that failed or make no sense are left out and counted
in a last ``trust`` record.
"""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

from planner.calibrate.importers.operation_cases import CannotMap, cases_of
from planner.devices.lookup import resolve_device
from planner.errors import FieldName, PlannerError, ProfileError
from planner.files import open_lines
from planner.operations.cases import Case, as_dict
from planner.operations.registry import cost
from planner.units import GIB, MIB

NEEDED = ("status", "op", "direction", "dtype", "shape", "device_us_median", "device")
MICRO = 1e-6
LONGEST_SHAPE = 2000  # characters of JSON; deeper nesting than this allows is no shape
LARGEST_SIZE = 2**40
NOT_SIZES = {"causal": bool, "layout": str}
PINNED = "host_to_device_pinned"
COPIES = {PINNED, "host_to_device_pageable", "device_to_host_pinned", "device_to_host_pageable"}
MALLOC = "device_malloc"


def records(path: Path, gpu: str | None = None) -> Iterator[dict]:
    """Journal records of a table: a session, its operations, facts, and a ``trust`` record when
    rows were left out.

    ``gpu`` picks the rows of one device, by any name the planner knows it by; without it the table
    must be of one device. Raises ProfileError for a file that cannot be read, is no such table, or
    has no usable row of that device.
    """
    chosen, device, foreign = _of_one_device(_rows(Path(path)), gpu, Path(path))
    skipped: Counter[str] = Counter({"of another device": foreign} if foreign else {})
    copies: dict[str, dict[int, float]] = {}
    found = []
    for row in chosen:
        try:
            seconds, shape = _seconds(row), _shape(row)
            if row["op"] in COPIES or row["op"] == MALLOC:
                copies.setdefault(row["op"], {})[shape.get("bytes", 0)] = seconds
            else:
                found += _operations(row, shape, seconds, device)
        except CannotMap as reason:
            skipped[str(reason)] += 1
    found += _facts(copies)
    if not found:
        raise ProfileError(
            f"none of its {len(chosen)} rows is usable: {_reasons(skipped)}", where=str(path)
        )
    yield {
        "record": "session",
        "device": device,
        "torch": chosen[0].get("torch") or None,
        "source": Path(path).name,
        "date": date.fromtimestamp(Path(path).stat().st_mtime).isoformat(),
    }
    yield from found
    if skipped:
        yield {
            "record": "trust",
            "what": f"{sum(skipped.values())} rows of {Path(path).name} were not used: "
            f"{_reasons(skipped)}",
            "mend": "Rows that ran out of memory or need a library that was missing can be "
            "measured again",
        }


# ---- the file


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with open_lines(path) as handle:
            reader = csv.DictReader(handle)
            missing = [c for c in NEEDED if c not in (reader.fieldnames or ())]
            if missing:
                raise ProfileError(
                    f"not a table of timed operations: no column {', '.join(missing)}",
                    where=str(path),
                    mend=f"It needs {', '.join(NEEDED)}",
                )
            found = [row for row in reader if None not in row and None not in row.values()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ProfileError(f"cannot read the table: {error}", where=str(path)) from error
    if not found:
        raise ProfileError("the table has no complete row", where=str(path))
    return found


def _of_one_device(
    rows: list[dict[str, str]], gpu: str | None, path: Path
) -> tuple[list[dict[str, str]], dict[str, Any], int]:
    """(rows of the device, its facts, how many rows are of others)."""
    names = list(Counter(row["device"] for row in rows))
    if gpu is None and len(names) > 1:
        raise ProfileError(
            f"the table is of several devices: {', '.join(sorted(names)[:6])}",
            where=str(path),
            mend=f"Name one with {FieldName('gpu')}",
        )
    wanted = [
        name
        for name in names
        if gpu is None
        or name.lower() == gpu.lower()
        or _key(name) is not None
        and _key(name) == _key(gpu)
    ]
    if not wanted:
        raise ProfileError(
            f"no row of {gpu!r}; the table is of {', '.join(sorted(names)[:6])}", where=str(path)
        )
    kept = [row for row in rows if row["device"] in wanted]
    return kept, _facts_of(wanted[0]), len(rows) - len(kept)


def _key(name: str) -> str | None:
    try:
        return None if name.strip().lower() == "local" else resolve_device(name).spec.key
    except PlannerError:
        return None


def _facts_of(name: str) -> dict[str, Any]:
    """What a backend would say of the device, as far as its name tells; a device that no table
    knows has only its name."""
    if name.lower() == "cpu":
        return {"kind": "cpu", "name": "cpu"}
    key = _key(name)
    if key is None:
        return {"kind": "cuda", "name": name}
    spec = resolve_device(key).spec
    return {
        "kind": "cuda",
        "name": name,
        "key": key,
        "vendor": spec.vendor,
        "total_memory_bytes": spec.total_memory_bytes,
        "compute_capability": spec.compute_capability,
        "sm_count": spec.sm_count,
        "l2_bytes": spec.l2_bytes,
    }


# ---- a row


def _seconds(row: dict[str, str], column: str = "device_us_median") -> float:
    if row["status"] != "ok":
        raise CannotMap("out of memory" if row["status"] == "oom" else "not measured")
    try:
        value = float(row[column]) * MICRO
    except ValueError:
        raise CannotMap("no time") from None
    if not (math.isfinite(value) and value > 0):
        raise CannotMap("no time")
    return value


def _shape(row: dict[str, str]) -> dict[str, Any]:
    """Sizes by name: positive whole numbers, whether attention is causal, and a layout's name."""
    text = row["shape"]
    try:
        shape = json.loads(text) if len(text) <= LONGEST_SHAPE else None
    except (ValueError, RecursionError):
        shape = None
    if not isinstance(shape, dict) or not all(_fits(name, value) for name, value in shape.items()):
        raise CannotMap("no sizes")
    return shape


def _fits(name: str, value: Any) -> bool:
    if name in NOT_SIZES:
        return isinstance(value, NOT_SIZES[name])
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= LARGEST_SIZE


def _operations(
    row: dict[str, str], shape: dict[str, Any], seconds: float, device: dict[str, Any]
) -> Iterable[dict]:
    try:
        cases = cases_of(row["op"], row["direction"], row["dtype"], shape)
    except (KeyError, TypeError, ZeroDivisionError):
        raise CannotMap("sizes that do not fit the operation") from None
    shares = shares_of(cases)
    low, high = _spread(row, seconds)
    single = len(cases) == 1 and device["kind"] == "cuda" and row["direction"] == "forward"
    unique = {case.key: (case, share) for case, share in zip(cases, shares)}
    return [
        {
            "record": "operation",
            "key": key,
            "case": as_dict(case),
            "seconds": seconds * share,
            "low": low * share,
            "high": high * share,
            "samples": [],
            "repeats": _whole(row.get("repeats")),
            "host_seconds": _host(row) if single else None,
            "joules": None,
            "shared": len(cases) > 1,
        }
        for key, (case, share) in unique.items()
    ]


def shares_of(cases: list[Case]) -> list[float]:
    """Of the time of cases that were timed together: by the bytes that each moves."""
    if len(cases) == 1:
        return [1.0]
    moved = [cost(case.signature, case.dims) for case in cases]
    sizes = [float(c.read_bytes + c.write_bytes) for c in moved]
    return [size / sum(sizes) for size in sizes]


def _spread(row: dict[str, str], seconds: float) -> tuple[float, float]:
    """The 10th and 90th percentile, or the median itself where they are missing or out of order."""
    try:
        low, high = (_seconds(row, column) for column in ("device_us_p10", "device_us_p90"))
    except (CannotMap, KeyError):
        return seconds, seconds
    return min(low, seconds), max(high, seconds)


def _host(row: dict[str, str]) -> float | None:
    try:
        return _seconds(row, "host_us_median")
    except (CannotMap, KeyError):
        return None


def _whole(cell: str | None) -> int | None:
    return int(cell) if cell and cell.isdigit() and len(cell) < 16 else None


# ---- what is a fact of the machine and not an operation


def _facts(timed: dict[str, dict[int, float]]) -> list[dict]:
    """By the names that a calibration gives them. Copies: the rate of the largest, and of the
    fastest way the seconds of the smallest. Device memory: the smallest that takes a large segment
    of torch's allocator, and one of a gigabyte."""
    found = []
    for op, times in sorted(timed.items()):
        sizes = sorted(size for size in times if size)
        if op == MALLOC:
            found += [
                _fact(name, times[size], "s", bytes=size)
                for name, size in _allocations(sizes).items()
            ]
        elif sizes:
            found.append(
                _fact(f"{op}_bytes_per_s", sizes[-1] / times[sizes[-1]], "B/s", bytes=sizes[-1])
            )
            if op == PINNED:
                found.append(_fact("host_to_device_seconds", times[sizes[0]], "s", bytes=sizes[0]))
    return found


def _allocations(sizes: list[int]) -> dict[str, int]:
    """Names of the times of allocation → sizes. Torch serves requests up to 1 MiB from small
    segments (CUDACachingAllocator)."""
    large = [size for size in sizes if size > MIB]
    found = {"malloc_seconds": large[0]} if large else {}
    return found | ({"malloc_large_seconds": sizes[-1]} if sizes and sizes[-1] >= GIB else {})


def _fact(name: str, value: float, unit: str, **more: Any) -> dict:
    return {"record": "fact", "name": name, "value": value, "unit": unit, **more}


def _reasons(skipped: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in skipped.most_common())
