"""The rows behind the offers: the shipped tables, one CSV a provider, and the user's own beside
them.

The user's rows lie in ``PLANNER_PRICES``, else in the user's data folder (``planner/prices``): what
``planner prices refresh`` fetched and ``planner prices import`` read. They have the columns of
``OWN_COLUMNS`` and never replace a shipped table.
"""

from __future__ import annotations

import csv
import datetime
import os
import statistics
from functools import cache
from pathlib import Path

from planner import tables
from planner.errors import ProfileError
from planner.files import open_lines
from planner.moment import once

GPU_NAMES = "gpu_names.csv"
#: (name, time of change in ns, size in bytes) of each table of the user's own.
Stamp = tuple[tuple[str, int, int], ...]
#: The columns of a table of the user's own; ``gpu_key`` is settled when the row is written.
OWN_COLUMNS = (
    "provider",
    "region",
    "instance_type",
    "gpu",
    "gpu_key",
    "gpu_count",
    "gpu_mem_gib",
    "vcpus",
    "ram_gib",
    "usd_per_instance_hour",
    "spot_usd_per_instance_hour",
    "commitment",
    "valid_from",
    "valid_until",
    "captured_date",
    "date_note",
    "kind",
    "unusable",
    "source",
)


def user_folder() -> Path:
    """``PLANNER_PRICES``, else the user's data folder."""
    return once("folder of prices", _user_folder)


def _user_folder() -> Path:
    base = os.environ.get("PLANNER_PRICES")
    if base:
        return Path(base)
    return _below(os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share"))


@cache
def _below(home: str) -> Path:
    """Made once: a question asks for it some hundred times."""
    return Path(home) / "planner" / "prices"


def providers() -> tuple[str, ...]:
    """Every provider that has a table, shipped or the user's, in alphabetical order."""
    return tuple(sorted({*_shipped_providers(), *(Path(name).stem for name, *_ in _stamp())}))


def price_rows() -> tuple[dict[str, str], ...]:
    """The rows of every provider, with ``gpu_key`` added ("" where ``gpu_names.csv`` says why it
    has none) and ``own`` filled for the user's. Raises ProfileError."""
    return _all_rows(str(user_folder()), _stamp())


def rows_by_gpu() -> dict[str, list[dict[str, str]]]:
    """The rows that may be offered, by device."""
    return _by_gpu(str(user_folder()), _stamp())


def instance_sizes() -> dict[tuple[str, str], int]:
    """Devices of an instance type, from the rows that state it: an index that gives prices per
    device does not."""
    return _sizes(str(user_folder()), _stamp())


def cores_by_gpu() -> dict[str, float]:
    """Virtual cores of an instance for each of its devices, by device: the median of the rows that
    state both."""
    return _cores(str(user_folder()), _stamp())


def gpu_names() -> dict[tuple[str, str, str], dict[str, str]]:
    """(name, memory in GiB, provider or "") → its row of ``gpu_names.csv``."""
    return _names()


def _stamp() -> Stamp:
    """The user's tables as they are now, so that a written table is read anew."""
    return once("tables of prices", _stamp_now)


def _stamp_now() -> Stamp:
    try:
        with os.scandir(user_folder()) as entries:
            return tuple(
                sorted(
                    (e.name, e.stat().st_mtime_ns, e.stat().st_size)
                    for e in entries
                    if e.name.endswith(".csv") and not e.name.startswith(".")
                )
            )
    except OSError:
        return ()


@cache
def _shipped_providers() -> tuple[str, ...]:
    return tuple(
        file.stem for file in tables.path("prices").glob("*.csv") if file.name != GPU_NAMES
    )


@cache
def _shipped_rows() -> tuple[dict[str, str], ...]:
    return tuple(
        {**row, "gpu_key": _gpu_key(row)}
        for name in sorted(_shipped_providers())
        for row in tables.rows("prices", f"{name}.csv")
    )


@cache
def _all_rows(folder: str, stamp: Stamp) -> tuple[dict[str, str], ...]:
    return _shipped_rows() + tuple(
        row for name, *_ in stamp for row in read_own(Path(folder) / name)
    )


def read_own(path: Path) -> list[dict[str, str]]:
    """The rows of a table of the user's own. Raises ProfileError naming the line that cannot be."""
    try:
        with open_lines(path) as handle:
            reader = csv.DictReader(handle)
            rows = [
                {name: (row.get(name) or "") for name in OWN_COLUMNS}
                | {"own": "yes", "region_rule": ""}
                for row in reader
            ]
            header = set(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ProfileError(f"cannot read your prices: {error}", where=str(path)) from error
    missing = {"provider", "gpu_key", "captured_date"} - header
    if missing:
        raise ProfileError(
            f"columns {', '.join(sorted(missing))} are missing",
            where=str(path),
            mend="Write it with planner prices import FILE",
        )
    for line, row in enumerate(rows, start=2):
        _check(row, f"{path} line {line}")
    return rows


def _check(row: dict[str, str], where: str) -> None:
    """A table of the user's own may have been edited by hand: every number is one, every date is
    one, and there is a count."""
    try:
        for column in (
            "gpu_count",
            "usd_per_instance_hour",
            "spot_usd_per_instance_hour",
            "ram_gib",
        ):
            value = float(row[column]) if row[column] else None
            if value is not None and not 0 <= value < 1e9:
                raise ValueError(f"{column} {row[column]} cannot be")
        if not float(row["gpu_count"] or 0) >= 1:
            raise ValueError("gpu_count is missing")
        for column in ("captured_date", "valid_from", "valid_until"):
            if row[column]:
                datetime.date.fromisoformat(row[column])
    except ValueError as error:
        raise ProfileError(
            f"cannot read your prices: {error}",
            where=where,
            mend="Mend the line, or remove the file",
        ) from None


@cache
def _by_gpu(folder: str, stamp: Stamp) -> dict[str, list[dict[str, str]]]:
    grouped: dict[str, list[dict[str, str]]] = {}
    for row in _all_rows(folder, stamp):
        if row["gpu_key"] and not row["unusable"]:
            grouped.setdefault(row["gpu_key"], []).append(row)
    return grouped


@cache
def _cores(folder: str, stamp: Stamp) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for key, rows in _by_gpu(folder, stamp).items():
        for row in rows:
            cores, devices = tables.number(row["vcpus"]), tables.number(row["gpu_count"])
            if cores and devices:
                found.setdefault(key, []).append(cores / devices)
    return {key: statistics.median(each) for key, each in found.items()}


@cache
def _sizes(folder: str, stamp: Stamp) -> dict[tuple[str, str], int]:
    sized = (
        row
        for row in _all_rows(folder, stamp)
        if row["gpu_count"] and row["kind"] != "per-GPU index row"
    )
    return {(row["provider"], row["instance_type"]): int(float(row["gpu_count"])) for row in sized}


def _gpu_key(row: dict[str, str]) -> str:
    names, gpu, memory = _names(), row["gpu"], row["gpu_mem_gib"]
    for provider in (row["provider"], ""):
        if (gpu, memory, provider) in names:
            return names[gpu, memory, provider]["gpu_key"]
    raise ProfileError(
        f"GPU {gpu!r} of {memory or 'unstated'} GiB is not in {GPU_NAMES}",
        where=f"prices/{row['provider']}.csv",
        mend="Add a row that maps it, or that says why it cannot be",
    )


@cache
def _names() -> dict[tuple[str, str, str], dict[str, str]]:
    return {
        (row["gpu"], row["gpu_mem_gib"], row["provider"]): row
        for row in tables.rows("prices", GPU_NAMES)
    }
