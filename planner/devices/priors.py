"""Efficiencies and latencies that no datasheet gives: rows of ``profiles/priors/device.csv``, the
most particular one that applies to a device."""

from __future__ import annotations

from functools import cache
from typing import Protocol

from planner import tables
from planner.errors import ProfileError

TABLE = ("priors", "device.csv")


class Device(Protocol):
    """What a row is chosen by: the device's key, its compute capability (``8.6``; None where it has
    none) and its vendor."""

    @property
    def key(self) -> str: ...

    @property
    def compute_capability(self) -> str | None: ...

    @property
    def vendor(self) -> str: ...


@cache
def _table() -> dict[tuple[str, str], dict[str, float]]:
    """(kind, parameter) → {applies_to: value}. Raises ProfileError for a value that is no number,
    or two rows for one thing."""
    table: dict[tuple[str, str], dict[str, float]] = {}
    for row in tables.rows(*TABLE):
        values = table.setdefault((row["kind"], row["parameter"]), {})
        if row["applies_to"] in values:
            raise ProfileError(
                f"two rows for {row['kind']} {row['parameter']} {row['applies_to']!r}",
                where="priors/device.csv",
            )
        try:
            values[row["applies_to"]] = float(row["value"])
        except ValueError as error:
            raise ProfileError(
                f"{row['value']!r} is not a number", where="priors/device.csv"
            ) from error
    return table


def prior(spec: Device, kind: str, parameter: str) -> float:
    """The row for this device's key, its compute capability (``8.6``), generation (``8.x``),
    vendor, or, with ``applies_to`` blank, for all. A kind without the parameter takes that of kind
    ``any``. Raises ProfileError when there is none."""
    names = (
        spec.key,
        spec.compute_capability or "",
        f"{(spec.compute_capability or '').partition('.')[0]}.x",
        spec.vendor,
        "",
    )
    for of_kind in (kind, "any"):
        values = _table().get((of_kind, parameter), {})
        for name in names:
            if name in values:
                return values[name]
    raise ProfileError(f"no {parameter} of {kind} for {spec.key}", where="priors/device.csv")


def tiles(unit: str) -> tuple[tuple[int, int, float], ...]:
    """Tile shapes of matrix kernels, both ways round, and their rate against the best: rows
    ``tile_128x64`` of kind ``product_tensor`` or ``product_simt``."""
    found: list[tuple[int, int, float]] = []
    for (kind, parameter), values in _table().items():
        if kind == unit and parameter.startswith("tile_"):
            rows, columns = parameter.removeprefix("tile_").split("x")
            found.append((int(rows), int(columns), values[""]))
    return tuple(
        dict.fromkeys(tile for m, n, rate in found for tile in ((m, n, rate), (n, m, rate)))
    )
