"""What a reader finds in a log, and how it becomes a record."""

from __future__ import annotations

import datetime
import hashlib
import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from planner.errors import ProfileError
from planner.ledger.record import RunRecord
from planner.today import now

# of identifiers of imported runs: any constant will do
SPACE = uuid.UUID("6f1d5a0c-6f6e-5f0e-9d0a-1c7f3c1b7a52")
# endings of what is worth a record
TELLING = ("_seconds", "_bytes", "_per_second", "_joules", "_watts")
MOST_PROBLEMS = 20  # are kept word for word; the rest is counted


@dataclass
class Problems:
    """What could not be taken: one line each, with file and row. ``rows`` counts the rows that were
    left out."""

    lines: list[str] = field(default_factory=list)
    rows: int = 0
    unsaid: int = 0

    def say(self, where: str, what: str, *, row: bool = False) -> None:
        self.rows += row
        if len(self.lines) < MOST_PROBLEMS:
            self.lines.append(f"{where}: {' '.join(what.split())[:200]}")
        else:
            self.unsaid += 1


@dataclass(frozen=True)
class Found:
    """One run of a log. ``key`` tells the runs of one file apart; ``ended`` is a moment with its
    zone, where the log knows one."""

    key: str
    setup: Mapping[str, Any]
    measurement: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    versions: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)
    ended: datetime.datetime | None = None


#: A reader of one format: the runs in a file or folder; what cannot be taken goes to the problems.
#: Raises DataError.
Reader = Callable[[Path, Problems], Iterator[Found]]


def as_record(
    found: Found,
    *,
    format_name: str,
    place: Path,
    content: str,
    known: Mapping[str, Any],
    problems: Problems,
) -> RunRecord | None:
    """The record, whose identifier follows from ``content`` (``content_of``) and what was said of
    the run, so that the same import twice is one run. None, and a problem, where nothing was
    measured or a value is impossible."""
    setup = {**found.setup, **known}
    measurement = {name: value for name, value in found.measurement.items() if value is not None}
    where = f"{place.name} {found.key}".strip()
    if not any(
        name.endswith(TELLING) or (name == "out_of_memory" and value)
        for name, value in measurement.items()
    ):
        problems.say(
            where,
            "says neither times nor memory nor energy"
            + "".join(f" ({note})" for note in found.notes[-1:]),
            row=True,
        )
        return None
    created = found.ended or now()
    try:
        return RunRecord(
            id=uuid.uuid5(SPACE, f"{content} {_canonical(setup)}").hex,
            created=created.isoformat(),
            kind="imported",
            source=f"{format_name}: {place.name} ({content})",
            setup={name: value for name, value in setup.items() if value is not None},
            measurement=measurement,
            versions=found.versions,
            machine=found.machine,
            notes=found.notes,
        )
    except ProfileError as error:
        part = (error.where or "").partition(".")[2]
        problems.say(where, f"{part}: {error.what}" if part else error.what, row=True)
        return None


def content_of(found: Found, seen: Counter[str]) -> str:
    """A short hash of what the log says of the run, wherever it lies and whatever stands around it;
    of the ``seen`` equal ones each another."""
    digest = hashlib.sha256(_canonical([found.setup, found.measurement]).encode()).hexdigest()[:12]
    seen[digest] += 1
    return digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
