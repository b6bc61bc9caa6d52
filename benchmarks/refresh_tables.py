"""Takes a folder of raw tables (GPUs, prices, prices by the token, carbon, recipes) into
``profiles/``.

    python benchmarks/refresh_tables.py DIR [--profiles DIR] [--checked DATE]

It reads gpus.csv, prices.csv, api_prices.csv and carbon.csv of DIR, and recipes.csv where it is
there. The same folder gives the same tables, and a second run changes nothing. What people settled
by hand is kept: it stands in ``profiles/refresh/`` and ``profiles/prices/gpu_names.csv``, and the
README there says how. A row that cannot be placed is printed with the reason, and the program then
ends with 1.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.raw_tables import Rules, Table, TableChanges, read_raw  # noqa: E402
from benchmarks.refresh_prices import refresh_prices  # noqa: E402
from benchmarks.refresh_recipes import refresh_recipes  # noqa: E402
from planner import tables  # noqa: E402
from planner.cost.prices.listing import source_name  # noqa: E402
from planner.errors import PlannerError  # noqa: E402

#: The raw column → ours, where the names differ.
GPU_COLUMNS = {
    "mem_bw_gbs": "memory_bandwidth_gb_per_s",
    "tdp_w": "tdp_watts",
    "interconnect_gbs_bidir": "interconnect_gb_per_s_both_ways",
}
CARBON_COLUMNS = {"g_co2e_per_kwh": "grams_co2e_per_kwh"}
INFERENCE_KINDS = ("inference", "embedding")
TRAINING_KINDS = ("training", "inference of a fine-tuned model", "storage", "note", "anecdote")


def refresh_gpus(rules: Rules, raw: Path, checked: str) -> list[TableChanges]:
    """``gpus/gpus.csv``: a raw row fills its cells, but for those of ``refresh/cells.csv``."""
    table = Table(rules.root / "gpus" / "gpus.csv")
    changes, old = TableChanges("gpus/gpus.csv"), {row["key"]: row for row in table.rows}
    fresh: dict[str, dict[str, str]] = {}
    for cells in read_raw(raw / "gpus.csv", ("key", *GPU_COLUMNS)):
        row = rules.applied("gpus", {GPU_COLUMNS.get(c, c): value for c, value in cells.items()})
        row, notes = rules.with_hand_cells("gpus", row["key"], row)
        changes.notes += notes
        merged = table.merged(old.get(row["key"]), row)
        if not merged["memory_group"]:
            changes.unplaced.append(
                f"{row['key']}: refresh/cells.csv does not say its memory_group"
            )
        elif row["key"] in fresh:
            changes.unplaced.append(f"{row['key']}: a second row of this key")
        else:
            fresh[row["key"]] = merged
    for key, row in fresh.items():
        differing = table.differing(old.get(key), row)
        if differing:
            row["checked_date"] = checked
        changes.count(key, old.get(key), differing)
    changes.kept += [key for key in old if key not in fresh]
    table.write(in_order(old, fresh))
    return [changes]


def in_order(old: dict, fresh: dict) -> list[dict[str, str]]:
    """Old rows at their places, each new one after the row that precedes it in the raw table."""
    order, previous = list(old), None
    for key in fresh:
        if key not in old:
            order.insert(order.index(previous) + 1 if previous is not None else 0, key)
        previous = key
    return [fresh.get(key) or old[key] for key in order]


def refresh_api_prices(rules: Rules, raw: Path) -> list[TableChanges]:
    """``api_prices/training.csv`` and ``inference.csv``, a kind of price each.

    A row that its own source has stopped listing is removed, a row of a source that the raw table
    does not read is kept."""
    by_table: dict[str, list[dict[str, str]]] = {"training": [], "inference": []}
    strange = []
    for cells in read_raw(raw / "api_prices.csv", ("provider", "model", "kind", "as_of", "source")):
        row = rules.applied("api_prices", cells)
        row["captured_date"] = captured(row["as_of"])
        if row["kind"] in INFERENCE_KINDS + TRAINING_KINDS:
            table = "inference" if row["kind"] in INFERENCE_KINDS else "training"
            by_table[table].append(row)
        else:
            strange.append(f"{row['provider']} {row['model']}: unknown kind {row['kind']!r}")
    found = [_refresh_api_table(rules, name, rows) for name, rows in by_table.items()]
    found[0].unplaced += strange
    return found


def _refresh_api_table(rules: Rules, name: str, rows: list[dict[str, str]]) -> TableChanges:
    table, changes = (
        Table(rules.root / "api_prices" / f"{name}.csv"),
        TableChanges(f"api_prices/{name}.csv"),
    )
    old = {_api_key(row): row for row in table.rows}
    sources = {source_name(row["source"]) for row in rows}
    fresh: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows:
        key = _api_key(row)
        if key in fresh:
            changes.unplaced.append(f"{label(key)}: a second row of this price")
            continue
        fresh[key] = table.merged(old.get(key), _class_numbers(row, table.rows))
        changes.count(label(key), old.get(key), table.differing(old.get(key), fresh[key]))
    for key, row in old.items():
        if key not in fresh:
            withdrawn = source_name(row["source"]) in sources
            (changes.removed if withdrawn else changes.kept).append(label(key))
    kept = {
        key: row
        for key, row in old.items()
        if key in fresh or source_name(row["source"]) not in sources
    }
    table.write(in_order(kept, fresh))
    return changes


def _api_key(row: dict[str, str]) -> tuple[str, ...]:
    return tuple(row[c] for c in ("provider", "model", "kind", "unit", "size_class", "method"))


def label(key: tuple[str, ...]) -> str:
    return " ".join(part for part in key if part)


def _class_numbers(row: dict[str, str], known: list[dict[str, str]]) -> dict[str, str]:
    """The row with its size class as numbers, as the provider's other rows have it."""
    columns = ("class_above_billion_params", "class_to_billion_params")
    for other in known:
        alike = (other["provider"], other["size_class"]) == (row["provider"], row["size_class"])
        if alike and row["size_class"] and other.get(columns[0]):
            return row | {column: other[column] for column in columns}
    return row


def captured(as_of: str) -> str:
    """The day of ``as_of``, the first of the month where only the month is known, else blank."""
    try:
        day = as_of if len(as_of) != len("2026-11") else f"{as_of}-01"
        return datetime.date.fromisoformat(day).isoformat()
    except ValueError:
        return ""


def refresh_carbon(rules: Rules, raw: Path) -> list[TableChanges]:
    """``carbon/carbon.csv``, and the rows of scope pue in ``carbon/pue.csv``."""
    grid, fleets, strange = [], [], []
    for cells in read_raw(raw / "carbon.csv", ("scope", "provider", "code", *CARBON_COLUMNS)):
        row = rules.applied(
            "carbon", {CARBON_COLUMNS.get(c, c): value for c, value in cells.items()}
        )
        if not row["grams_co2e_per_kwh"]:
            strange.append(f"{row['scope']} {row['provider']} {row['code']}: no figure")
        elif row["scope"] == "pue":
            name = rules.provider(row["provider"]) or row["provider"]
            fleets.append(row | {"provider": name, "pue": row["grams_co2e_per_kwh"]})
        else:
            grid.append(row)
    found = [
        _refresh_by_key(rules, "carbon/carbon.csv", grid, ("scope", "provider", "code", "source")),
        _refresh_by_key(rules, "carbon/pue.csv", fleets, ("provider",)),
    ]
    found[0].unplaced += strange
    return found


def _refresh_by_key(
    rules: Rules, name: str, rows: list[dict[str, str]], columns: tuple[str, ...]
) -> TableChanges:
    table, changes = Table(rules.root / name), TableChanges(name)
    old = {tuple(row[c] for c in columns): row for row in table.rows}
    fresh: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows:
        key = tuple(row[c] for c in columns)
        if key in fresh:
            changes.unplaced.append(f"{label(key)}: a second row of this key")
            continue
        fresh[key] = table.merged(old.get(key), row)
        changes.count(label(key), old.get(key), table.differing(old.get(key), fresh[key]))
    changes.kept += [label(key) for key in old if key not in fresh]
    table.write(in_order(old, fresh))
    return changes


def newest_day(raw: Path) -> str:
    """The newest day that a row of the folder carries: what the folder is as of."""
    cells = [row["captured_date"] for row in read_raw(raw / "prices.csv", ("captured_date",))]
    cells += [row["as_of"] for row in read_raw(raw / "api_prices.csv", ("as_of",))]
    return max(filter(None, map(captured, cells)), default="")


def refresh(raw: Path, root: Path, checked: str | None = None) -> list[TableChanges]:
    """Rewrite the tables under ``root`` from the raw ones.

    ``checked``: the day that new and changed GPU rows carry; left out, the newest of the folder.
    Raises PlannerError for a table that cannot be read or written."""
    rules = Rules(root)
    found = refresh_gpus(rules, raw, checked or newest_day(raw))
    found += refresh_prices(rules, raw)
    found += refresh_api_prices(rules, raw) + refresh_carbon(rules, raw)
    return found + refresh_recipes(root, raw)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--profiles", type=Path, help="the tables to rewrite (default: the shipped ones)"
    )
    parser.add_argument(
        "--checked", metavar="DATE", help="the day that new and changed GPU rows carry"
    )
    given = parser.parse_args(arguments)
    try:
        found = refresh(given.folder, given.profiles or tables.root(), given.checked)
    except PlannerError as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join(line for changes in found for line in changes.lines()))
    return 1 if any(changes.unplaced for changes in found) else 0


if __name__ == "__main__":
    sys.exit(main())
