"""Raw prices into ``profiles/prices/<provider>.csv``.

Captures are added, never dropped; one that is there already is brought up to date.
"""

from __future__ import annotations

import datetime
import math
from pathlib import Path

from benchmarks.raw_tables import NewTable, Rules, TableChanges, read_raw

#: The raw column → ours. ``usd_per_gpu_hour`` is blank where there is no price on demand.
COLUMNS = {
    "price_usd_per_hour": "usd_per_instance_hour",
    "price_usd_per_gpu_hour": "usd_per_gpu_hour",
    "spot_usd_per_hour": "spot_usd_per_instance_hour",
}
TABLE = (
    "provider", "region", "region_rule", "instance_type", "gpu", "gpu_count", "gpu_mem_gib",
    "vcpus", "ram_gib", "usd_per_instance_hour", "usd_per_gpu_hour",
    "spot_usd_per_instance_hour", "captured_date", "date_note", "kind", "unusable",
    "source",
)  # fmt: skip
#: What makes two rows the same capture of the same offer, whoever quotes it.
CAPTURE = (
    "provider", "region", "instance_type", "gpu", "gpu_mem_gib", "commitment",
    "captured_date", "kind",
)  # fmt: skip
ORDER = (
    "instance_type", "gpu", "gpu_mem_gib", "region", "commitment", "captured_date", "kind",
    "region_rule", "source",
)  # fmt: skip


def refresh_prices(rules: Rules, raw: Path) -> list[TableChanges]:
    """Every provider's table, and first what could not be placed."""
    by_provider: dict[str, list[dict[str, str]]] = {}
    strange = TableChanges("prices/*.csv")
    for cells in read_raw(
        raw / "prices.csv", ("provider", "gpu", "captured_date", "source", *COLUMNS)
    ):
        row, why = _row(rules, cells)
        if row is None:
            strange.unplaced.append(f"{_name(cells)}: {why}")
        elif not row["provider"]:
            strange.notes.append(
                f"{_name(cells)}: left out, {rules.why_left_out(cells['provider'])}"
            )
        else:
            by_provider.setdefault(row["provider"], []).append(row)
    found = [_refresh_provider(rules, name, rows) for name, rows in sorted(by_provider.items())]
    return ([strange] if strange.unplaced or strange.notes else []) + found


def _name(row: dict[str, str]) -> str:
    return f"{row['provider']} {row['instance_type']} {row['gpu']} {row['gpu_mem_gib']} GiB"


def _row(rules: Rules, cells: dict[str, str]) -> tuple[dict[str, str] | None, str]:
    """Our row, or None and why there is none."""
    provider = rules.provider(cells["provider"])
    if provider is None:
        return (
            None,
            "unknown provider; name it in refresh/providers.csv, or say there why not",
        )
    row = {COLUMNS.get(column, column): value for column, value in cells.items()}
    row |= {"provider": provider, "date_note": "", "unusable": "", "commitment": ""}
    row |= {column: _plain(row[column]) for column in ("gpu_count", "gpu_mem_gib")}
    row = rules.applied("prices", _dated(row))
    if not provider:
        return row, ""
    try:
        why = _why_not(rules, row)
    except ValueError as error:
        why = f"{error}"
    return (None if why else row), why


def _why_not(rules: Rules, row: dict[str, str]) -> str:
    """Why a row cannot be placed, "" where it can. Raises ValueError for what is no number."""
    if rules.gpu(row) is None:
        return "unknown GPU name; map it in prices/gpu_names.csv, or say there why it cannot be"
    prices = [
        float(row[c]) for c in ("usd_per_instance_hour", "spot_usd_per_instance_hour") if row[c]
    ]
    if not prices:
        return "no price, neither on demand nor spot"
    if not all(math.isfinite(price) and price > 0 for price in prices):
        return "a price that is not above zero"
    if not row["gpu_count"] and not row["unusable"]:
        return "no GPU count"
    return ""


def _plain(number: str) -> str:
    """16.0 → 16; what is no number stays and is refused later."""
    try:
        return f"{float(number):g}"
    except ValueError:
        return number


def _dated(row: dict[str, str]) -> dict[str, str]:
    """The captured date as a day: the first of a month where no day is said; else blank."""
    text = row["captured_date"]
    day = f"{text}-01" if len(text) == len("2026-11") else text
    try:
        day = datetime.date.fromisoformat(day).isoformat()
    except ValueError:
        return row | {"captured_date": "", "date_note": text or "undated"}
    return row | {"captured_date": day, "date_note": "month only" if day != text else ""}


def _refresh_provider(rules: Rules, name: str, rows: list[dict[str, str]]) -> TableChanges:
    table, changes = (
        NewTable(rules.root / "prices" / f"{name}.csv", TABLE),
        TableChanges(f"prices/{name}.csv"),
    )
    kept: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in table.rows:
        again = table.merged(row, rules.applied("prices", row))
        changes.count(_offer_name(row), row, table.differing(row, again))
        kept.setdefault(_capture(again), []).append(again)
    fresh: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows:
        key = _capture(row)
        if key in fresh:
            changes.unplaced.append(
                f"{_name(row)}: a second row of {row['captured_date'] or 'no date'}"
            )
            continue
        old = _alike(kept.get(key, []), row)
        fresh[key] = table.merged(old, _beside_hand_cells(old, row))
        changes.count(_offer_name(row), old, table.differing(old, fresh[key]))
        if old:
            kept[key].remove(old)
    rest = [row for found in kept.values() for row in found]
    _sort_out(rules, changes, rest, list(fresh.values()))
    table.write(
        sorted([*rest, *fresh.values()], key=lambda row: tuple(row.get(c) or "" for c in ORDER))
    )
    return changes


def _capture(row: dict[str, str]) -> tuple[str, ...]:
    return tuple(row.get(column) or "" for column in CAPTURE)


def _offer_name(row: dict[str, str]) -> str:
    day = row["captured_date"] or "no date"
    return f"{row['instance_type']} {row['gpu']} in {row['region']} of {day}"


def _alike(found: list[dict[str, str]], row: dict[str, str]) -> dict[str, str] | None:
    """Of several captures of one day the one of the same source, else the first."""
    return next(
        (one for one in found if one["source"] == row["source"]), found[0] if found else None
    )


def _beside_hand_cells(old: dict[str, str] | None, row: dict[str, str]) -> dict[str, str]:
    """The fresh row without cells that a hand filled, or may fill where it is blank."""
    if old is None:
        return row
    marked = [c for c in ("unusable", "date_note", "commitment") if old.get(c)]
    blank = [c for c in ("vcpus", "ram_gib") if not row[c]]
    return {column: value for column, value in row.items() if column not in marked + blank}


def _sort_out(
    rules: Rules, changes: TableChanges, rest: list[dict[str, str]], fresh: list[dict[str, str]]
) -> None:
    """Rows that the raw table has not: an offer's older captures, or offers with nothing newer."""
    newest: dict[tuple[str, ...], str] = {}
    for row in [*rest, *fresh]:
        key = _offer(rules, row)
        newest[key] = max(newest.get(key, ""), row["captured_date"])
    for row in rest:
        older = row["captured_date"] < newest[_offer(rules, row)]
        (changes.older if older else changes.kept).append(_offer_name(row))


def _offer(rules: Rules, row: dict[str, str]) -> tuple[str, ...]:
    gpu = rules.gpu(row)
    device = (gpu and gpu["gpu_key"]) or row["gpu"]
    return (row["region"], row["instance_type"], device, row.get("commitment") or "")
