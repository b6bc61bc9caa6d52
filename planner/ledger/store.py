"""The ledger: one SQLite file of runs that only grows.

A write that has returned is on the disk (write-ahead log, ``synchronous=FULL``), a write that was
killed leaves nothing (https://www.sqlite.org/wal.html), several processes may write at once, and
triggers refuse to change or delete a run. Each run carries the SHA-256 of its own text, because
SQLite does not check its pages: damage is noticed, not read as data.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import re
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from planner.errors import MachineError, ProfileError, QuestionError, nearest
from planner.ledger.database import (
    check,
    connect,
    damaged,
    errors_of,
    patiently,
    read_only,
    transaction,
    unwritable,
)
from planner.ledger.record import KINDS, RunRecord
from planner.question import ALL_STRATEGIES

_INSERT = (
    "INSERT INTO runs (id, created, kind, model, gpu, strategy, digest, record) VALUES "
    "(?, ?, ?, ?, ?, ?, ?, ?)"
)


def default_path() -> Path:
    """``PLANNER_LEDGER``, else ``planner/runs.sqlite`` in the user's data folder."""
    given = os.environ.get("PLANNER_LEDGER")
    if given:
        return Path(given).expanduser()
    return (
        Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
        / "planner"
        / "runs.sqlite"
    )


class Ledger:
    """An open ledger. ``create=False`` raises ProfileError where there is none. Threads may share
    one, processes each open their own (also after a fork). Raises ProfileError for a file that is
    no ledger, is damaged or is of a newer planner, MachineError where the machine refuses."""

    def __init__(self, path: Path | str | None = None, *, create: bool = True) -> None:
        self.path = default_path() if path is None else Path(path)
        self._lock = threading.RLock()
        _check_place(self.path, create)
        self._database = self._opened()

    def _opened(self) -> sqlite3.Connection:
        try:
            with errors_of(self.path):
                return patiently(lambda: connect(self.path))
        except MachineError:
            if unwritable(self.path):
                return read_only(self.path)
            raise

    def append(self, record: RunRecord) -> None:
        """Write one run; it is durable when this returns. Raises ProfileError where its id is there
        already, MachineError where it could not be written (nothing of it is then kept)."""
        with self._lock, errors_of(self.path):
            with transaction(self._database):
                if _holds_id(self._database, record.id):
                    raise ProfileError(
                        f"run {record.id[:8]} is there already: a run is never changed",
                        where=str(self.path),
                    )
                self._database.execute(_INSERT, row_of(record))

    def merge(self, other: Path | str) -> tuple[int, int]:
        """Take over another ledger's runs, all or none: (added, already there). A run whose id is
        there already is left as it is here. The other file is only read. Raises as opening does,
        QuestionError for this very file."""
        other = Path(other)
        if other.exists() and os.path.samefile(other, self.path):
            raise QuestionError(
                "is this ledger itself", where=str(other), mend="Name a colleague's ledger"
            )
        _check_place(other, create=False)
        with contextlib.closing(read_only(other)) as theirs:
            check(theirs, other)
            return self.append_new(
                _read(theirs, other, "SELECT record, digest FROM runs ORDER BY seq", ())
            )

    def append_new(self, records: Iterator[RunRecord]) -> tuple[int, int]:
        """Write those whose ids are not there yet, in one transaction: (added, already there).
        Raises as append does."""
        added = present = 0
        with self._lock, errors_of(self.path), transaction(self._database):
            for record in records:
                if _holds_id(self._database, record.id):
                    present += 1
                else:
                    self._database.execute(_INSERT, row_of(record))
                    added += 1
        return added, present

    def records(
        self,
        *,
        model: str | None = None,
        gpu: str | None = None,
        strategy: str | None = None,
        kind: str | None = None,
        since: str | datetime.date | None = None,
        id: str | None = None,
        newest_first: bool = False,
        limit: int | None = None,
    ) -> Iterator[RunRecord]:
        """The runs by the time they were made. ``model`` and ``gpu``: contained, whatever the case;
        ``since``: an ISO date or moment (UTC where it says no zone); ``id``: how it begins. Raises
        QuestionError for a filter that cannot be, ProfileError at the first run that is damaged."""
        conditions, values = _conditions(
            model=model, gpu=gpu, strategy=strategy, kind=kind, since=since, id=id
        )
        order = "DESC" if newest_first else "ASC"
        query = f"SELECT record, digest FROM runs{conditions} ORDER BY created {order}, seq {order}"
        if limit is not None:
            query, values = f"{query} LIMIT ?", [*values, max(0, limit)]
        return _read(self._database, self.path, query, values)

    def __len__(self) -> int:
        with self._lock, errors_of(self.path):
            return self._database.execute("SELECT count(*) FROM runs").fetchone()[0]

    def close(self) -> None:
        with self._lock, contextlib.suppress(sqlite3.Error):
            self._database.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def row_of(record: RunRecord) -> tuple[str | None, ...]:
    """What the table holds of a run: the columns that are searched, and the whole."""
    text, setup = record.to_json(), record.setup
    return (
        record.id,
        record.created,
        record.kind,
        setup.get("model"),
        setup.get("gpu"),
        setup.get("strategy"),
        digest_of(text),
        text,
    )


# ---------------------------------------------------------------- opening


def _check_place(path: Path, create: bool) -> None:
    try:
        if path.is_dir():
            raise ProfileError("is a folder, not a ledger", where=str(path))
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
        elif not path.exists():
            raise ProfileError(
                "there is no ledger",
                where=str(path),
                mend="planner measure and planner runs import make one",
            )
    except (OSError, ValueError) as error:
        raise MachineError(
            f"the ledger cannot be kept here: {getattr(error, 'strerror', None) or error}",
            where=str(path),
            mend="Set PLANNER_LEDGER to a file that can be written",
        ) from None


# ---------------------------------------------------------------- reading and writing


def _holds_id(database: sqlite3.Connection, identifier: str) -> bool:
    return database.execute("SELECT 1 FROM runs WHERE id = ?", (identifier,)).fetchone() is not None


def _read(
    database: sqlite3.Connection, path: Path, query: str, values: Sequence[object]
) -> Iterator[RunRecord]:
    with errors_of(path):
        for text, digest in database.execute(query, values):
            if not isinstance(text, str) or digest_of(text) != digest:
                raise damaged(path, "a run does not match its checksum")
            yield RunRecord.from_json(text)


def _conditions(
    *,
    model: str | None,
    gpu: str | None,
    strategy: str | None,
    kind: str | None,
    since: str | datetime.date | None,
    id: str | None,
) -> tuple[str, list[str]]:
    found: list[tuple[str, str]] = [
        (f"instr(folded({name}), ?) > 0", text.casefold())
        for name, text in (("model", model), ("gpu", gpu))
        if text
    ]
    if strategy is not None:
        found.append(
            ("strategy = ?", _one_of("strategy", strategy.replace("-", "_"), ALL_STRATEGIES))
        )
    if kind is not None:
        found.append(("kind = ?", _one_of("kind", kind, KINDS)))
    if since is not None:
        found.append(("created >= ?", _moment(since)))
    if id is not None:
        if not re.fullmatch(r"[0-9a-fA-F]{1,32}", id):
            raise QuestionError(
                f"{id[:60]!r} is not the beginning of a run's id: hexadecimal digits", where="id"
            )
        found.append(("id LIKE ?", f"{id.lower()}%"))
    conditions = [text for text, _ in found]
    return (" WHERE " + " AND ".join(conditions) if conditions else ""), [
        value for _, value in found
    ]


def _one_of(name: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        near = nearest(value, known)
        raise QuestionError(
            f"unknown {name} {value[:60]!r}",
            mend=f"Did you mean {near[0]}?" if near else f"Known: {', '.join(known)}",
        )
    return value


def _moment(since: str | datetime.date) -> str:
    try:
        given = datetime.datetime.fromisoformat(
            since if isinstance(since, str) else since.isoformat()
        )
        aware = given if given.tzinfo else given.replace(tzinfo=datetime.UTC)
        return aware.astimezone(datetime.UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError):
        raise QuestionError(
            f"{str(since)[:60]!r} is not a date",
            where="since",
            mend="2026-01-31 and 2026-01-31T12:00+01:00 are",
        ) from None
