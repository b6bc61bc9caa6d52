"""Raw tables as they come, shipped tables as they are, and what people settled by hand between."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from planner.cli.writing import write
from planner.errors import DataError, ProfileError

#: What a row of ``refresh/rules.csv`` does where its pattern is found in its column: rewrite
#: replaces what was found, set puts the value into the column ``sets``, fill does so where that is
#: blank, note adds it.
ACTIONS = ("rewrite", "set", "fill", "note")


def read_raw(path: Path, needed: Iterable[str]) -> list[dict[str, str]]:
    """The rows of a raw table. Raises DataError naming what is missing or ragged."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(f"cannot be read: {why}", where=str(path)) from None
    reader = csv.DictReader(io.StringIO(text))
    missing = [column for column in needed if column not in (reader.fieldnames or ())]
    if missing:
        raise DataError(f"column {missing[0]!r} is missing", where=str(path))
    rows = list(reader)
    for line, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise DataError("more or fewer cells than columns", where=f"{path} row {line}")
    return [{column: cell.strip() for column, cell in row.items()} for row in rows]


def same(one: str, other: str) -> bool:
    """Whether two cells say the same, as text or as numbers."""
    if one == other:
        return True
    try:
        return float(one) == float(other)
    except ValueError:
        return False


class Table:
    """A shipped table with the comments above its header. Raises ProfileError if unreadable."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        except (OSError, UnicodeDecodeError) as error:
            raise ProfileError(f"cannot read the table: {error}", where=str(path)) from error
        self.comments = "".join(line for line in lines if line.startswith("#"))
        reader = csv.DictReader(line for line in lines if not line.startswith("#"))
        self.rows = list(reader)
        self.columns = list(reader.fieldnames or ())

    def merged(self, old: dict[str, str] | None, fresh: dict[str, str]) -> dict[str, str]:
        """The row with the fresh cells; what only we have, or says the same, stays as written."""
        row = dict.fromkeys(self.columns, "") | (old or {})
        return {
            c: row[c] if c not in fresh or same(row[c], fresh[c]) else fresh[c]
            for c in self.columns
        }

    def differing(self, old: dict[str, str] | None, row: dict[str, str]) -> list[str]:
        """What is new in a row, a phrase a cell."""
        before = old or {}
        return [
            f"{c} {before.get(c, '')!r} → {row[c]!r}"
            for c in self.columns
            if before.get(c, "") != row[c]
        ]

    def write(self, rows: Iterable[dict[str, str]]) -> None:
        """Write the table whole, where it changes."""
        out = io.StringIO()
        writer = csv.DictWriter(out, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        text = self.comments + out.getvalue()
        if not self.path.exists() or text != self.path.read_text(encoding="utf-8"):
            write(self.path, text)


class NewTable(Table):
    """A table that may not be there yet; its columns are then given."""

    def __init__(self, path: Path, columns: Iterable[str]) -> None:
        if path.exists():
            super().__init__(path)
        else:
            self.path, self.comments, self.rows, self.columns = path, "", [], list(columns)


@dataclass
class TableChanges:
    """What a refresh did to one table; every list holds one phrase a row."""

    table: str
    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    older: list[str] = field(default_factory=list)  # captures of an offer that has a newer one
    kept: list[str] = field(default_factory=list)  # rows that the raw table does not have
    unplaced: list[str] = field(default_factory=list)  # raw rows that were not taken, and why
    notes: list[str] = field(default_factory=list)

    def count(self, name: str, old: dict[str, str] | None, differing: list[str]) -> None:
        if old is None:
            self.added.append(name)
        elif differing:
            self.changed.append(f"{name}: {', '.join(differing)}")

    def lines(self) -> list[str]:
        """Counts, and by name every row but the added and the older ones."""
        counts = (
            f"{len(self.added)} added, {len(self.changed)} changed, {len(self.removed)} removed"
        )
        kept = f"{len(self.older)} older captures kept, {len(self.kept)} kept that only we have"
        found = [f"{self.table}: {counts}, {kept}, {len(self.unplaced)} not placed"]
        for word in ("changed", "removed", "kept", "unplaced", "notes"):
            found += [
                f"  {word.replace('unplaced', 'NOT PLACED')}: {one}" for one in getattr(self, word)
            ]
        return found


class Rules:
    """The tables of ``refresh/`` and the GPUs' names, under one folder of tables."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._rules = Table(root / "refresh" / "rules.csv").rows
        self._cells = Table(root / "refresh" / "cells.csv").rows
        self._providers = {
            row["raw"]: row for row in Table(root / "refresh" / "providers.csv").rows
        }
        names = Table(root / "prices" / "gpu_names.csv").rows
        self._gpus = {(row["gpu"], row["gpu_mem_gib"], row["provider"]): row for row in names}
        for row in self._rules:
            if row["action"] not in ACTIONS:
                raise ProfileError(
                    f"unknown action {row['action']!r}",
                    where="refresh/rules.csv",
                    mend=f"Use one of {', '.join(ACTIONS)}",
                )

    def provider(self, raw: str) -> str | None:
        """Our name of a provider, "" where it is left out on purpose; None where nothing says."""
        row = self._providers.get(raw)
        return None if row is None else row["provider"]

    def why_left_out(self, raw: str) -> str:
        return self._providers[raw]["reason"]

    def gpu(self, row: dict[str, str]) -> dict[str, str] | None:
        """The row of ``gpu_names.csv`` that a price's GPU has, None where it has none."""
        for provider in (row["provider"], ""):
            found = self._gpus.get((row["gpu"], row["gpu_mem_gib"], provider))
            if found:
                return found
        return None

    def applied(self, table: str, row: dict[str, str]) -> dict[str, str]:
        """The row after every rule of its table, in the order of the file."""
        row = dict(row)
        for rule in self._rules:
            if rule["table"] == table and rule["provider"] in ("", row.get("provider")):
                _apply(rule, row)
        return row

    def with_hand_cells(
        self, table: str, key: str, row: dict[str, str]
    ) -> tuple[dict[str, str], list[str]]:
        """The row with the cells of ``refresh/cells.csv``, and a note for each of them whose raw
        cell is another than the one that was settled."""
        row, notes = dict(row), []
        for cell in self._cells:
            if (cell["table"], cell["key"]) != (table, key):
                continue
            found = row.get(cell["column"], "")
            if not same(found, cell["raw"]):
                was = f"{cell['value']!r} was settled when the raw table said {cell['raw']!r}"
                notes.append(f"{key} {cell['column']}: {was}; it now says {found!r}: look again")
            row[cell["column"]] = cell["value"]
        return row, notes


def _apply(rule: dict[str, str], row: dict[str, str]) -> None:
    found = re.search(rule["pattern"], row.get(rule["column"], ""))
    if not found:
        return
    column = rule["sets"] or rule["column"]
    if rule["action"] == "rewrite":
        row[column] = re.sub(rule["pattern"], rule["value"], row[column])
        return
    value, now = found.expand(rule["value"]), row.get(column, "")
    if rule["action"] == "set" or (rule["action"] == "fill" and not now):
        row[column] = value
    elif rule["action"] == "note" and value not in now:
        row[column] = f"{now}; {value}" if now else value
