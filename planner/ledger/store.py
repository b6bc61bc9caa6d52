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
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from planner.errors import MachineError, PlannerError, ProfileError, QuestionError, nearest
from planner.ledger.record import KINDS, RunRecord
from planner.question import ALL_STRATEGIES

#: The layout of the database, in its ``user_version``. A newer one is refused, an older one will be
#: brought forward here.
LAYOUT = 1
#: ``application_id``: "PLNR" in ASCII, so that another program's database is not taken for a
#: ledger.
APPLICATION = 0x504C4E52
PAGE_BYTES = 4096
#: How long a write waits for others before it gives up.
PATIENCE_SECONDS = 60.0

_SCHEMA = (
    """CREATE TABLE runs (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
       created TEXT NOT NULL, kind TEXT NOT NULL, model TEXT, gpu TEXT, strategy TEXT,
       digest TEXT NOT NULL, record TEXT NOT NULL)""",
    "CREATE INDEX runs_created ON runs (created)",
    "CREATE TRIGGER runs_never_change BEFORE UPDATE ON runs BEGIN SELECT RAISE(ABORT, 'a run "
    "is never changed'); END",
    "CREATE TRIGGER runs_never_go BEFORE DELETE ON runs BEGIN SELECT RAISE(ABORT, 'a run is "
    "never deleted'); END",
    # INSERT OR REPLACE deletes without asking the trigger above
    """CREATE TRIGGER runs_never_give_way BEFORE INSERT ON runs
       WHEN EXISTS (SELECT 1 FROM runs WHERE id = NEW.id OR seq = NEW.seq)
       BEGIN SELECT RAISE(ABORT, 'a run of this id is there already'); END""",
    f"PRAGMA application_id = {APPLICATION}",
    f"PRAGMA user_version = {LAYOUT}",
)
_INSERT = (
    "INSERT INTO runs (id, created, kind, model, gpu, strategy, digest, record) VALUES "
    "(?, ?, ?, ?, ?, ?, ?, ?)"
)
_Result = TypeVar("_Result")


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


class DamagedLedger(ProfileError):
    """What can be read of the ledger is saved by ``planner runs rescue``."""


class Ledger:
    """An open ledger. ``create=False`` raises ProfileError where there is none. Threads may share
    one, processes each open their own (also after a fork). Raises ProfileError for a file that is
    no ledger, is damaged or is of a newer planner, MachineError where the machine refuses."""

    def __init__(self, path: Path | str | None = None, *, create: bool = True):
        self.path = default_path() if path is None else Path(path)
        self._lock = threading.RLock()
        _check_place(self.path, create)
        self._database = self._opened()

    def _opened(self) -> sqlite3.Connection:
        try:
            with errors_of(self.path):
                return _patiently(lambda: _connect(self.path))
        except MachineError:
            if _unwritable(self.path):
                return read_only(self.path)
            raise

    def append(self, record: RunRecord) -> None:
        """Write one run; it is durable when this returns. Raises ProfileError where its id is there
        already, MachineError where it could not be written (nothing of it is then kept)."""
        with self._lock, errors_of(self.path):
            with _transaction(self._database):
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
        with self._lock, errors_of(self.path), _transaction(self._database):
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


def check(database: sqlite3.Connection, path: Path) -> None:
    """Look through every page. Raises ProfileError where the file is damaged."""
    with errors_of(path):
        said = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    if said != "ok":
        raise damaged(path, said)


def damaged(path: Path, detail: str) -> DamagedLedger:
    detail = detail.splitlines()[-1][:120] if detail else "unreadable"
    return DamagedLedger(
        f"the ledger is damaged ({detail})",
        where=str(path),
        mend=f"What can be read is saved by: planner runs rescue {path}",
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


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(
        path, timeout=PATIENCE_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        database.create_function(
            "folded",
            1,
            lambda text: text.casefold() if isinstance(text, str) else None,
            deterministic=True,
        )
        database.execute("PRAGMA synchronous = FULL")
        if _checked_layout(database, path) == 0:
            _create(database, path)
        check(database, path)
        return database
    except BaseException:
        database.close()
        raise


def read_only(path: Path) -> sqlite3.Connection:
    """A connection that writes nothing, beside the file neither. Raises as opening does."""
    log = path.with_name(path.name + "-wal")
    pending = log.exists() and log.stat().st_size > 0
    with errors_of(path):
        address = f"file:{quote(str(path.absolute()))}?mode=ro{'' if pending else '&immutable=1'}"
        database = sqlite3.connect(
            address,
            uri=True,
            timeout=PATIENCE_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        database.create_function(
            "folded",
            1,
            lambda text: text.casefold() if isinstance(text, str) else None,
            deterministic=True,
        )
        if _checked_layout(database, path) == 0:
            raise ProfileError("an empty file, not a ledger", where=str(path))
        check(database, path)
        return database


def _unwritable(path: Path) -> bool:
    return path.exists() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))


def _checked_layout(database: sqlite3.Connection, path: Path) -> int:
    """0 for a database in which nothing is yet. Raises ProfileError for another program's, and for
    a newer planner's."""
    layout = database.execute("PRAGMA user_version").fetchone()[0]
    application = database.execute("PRAGMA application_id").fetchone()[0]
    if application != APPLICATION:
        if (
            application
            or layout
            or database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        ):
            raise ProfileError("a database of another program, not a ledger", where=str(path))
        return 0
    if layout > LAYOUT:
        raise ProfileError(
            f"written by a newer planner (layout {layout}; this one knows {LAYOUT})",
            where=str(path),
            mend="Update with: pip install -U planner",
        )
    return layout


def _create(database: sqlite3.Connection, path: Path) -> None:
    """Make the table, unless another process did so meanwhile."""
    database.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    _patiently(lambda: database.execute("PRAGMA journal_mode = WAL").fetchone())
    with _transaction(database):
        if _checked_layout(database, path) == 0:
            for statement in _SCHEMA:
                database.execute(statement)


# ---------------------------------------------------------------- reading and writing


@contextlib.contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    """All or nothing. The write lock is taken first, so that what is looked up stands until the
    commit."""
    _patiently(lambda: database.execute("BEGIN IMMEDIATE"))
    try:
        yield
        _patiently(lambda: database.execute("COMMIT"))
    except BaseException:
        if database.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                database.execute("ROLLBACK")
        raise


def _patiently(step: Callable[[], _Result]) -> _Result:
    """SQLite's own waiting does not cover the change to the write-ahead log nor the recovery after
    a crash."""
    deadline, pause = time.monotonic() + PATIENCE_SECONDS, 0.002
    while True:
        try:
            return step()
        except sqlite3.OperationalError as error:
            if (
                _code(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
                or time.monotonic() > deadline
            ):
                raise
        time.sleep(pause)
        pause = min(0.1, pause * 1.5)


def _holds_id(database: sqlite3.Connection, identifier: str) -> bool:
    return database.execute("SELECT 1 FROM runs WHERE id = ?", (identifier,)).fetchone() is not None


def _read(
    database: sqlite3.Connection, path: Path, query: str, values: list | tuple
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


# ---------------------------------------------------------------- errors


@contextlib.contextmanager
def errors_of(path: Path) -> Iterator[None]:
    """SQLite's errors, as one line each with what to do."""
    try:
        yield
    except PlannerError:
        raise
    except sqlite3.Error as error:
        raise _said(error, path) from error
    except UnicodeDecodeError as error:
        raise damaged(path, "text that is not UTF-8") from error


def _code(error: sqlite3.Error) -> int:
    """The error's kind, without its extension."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def _said(error: sqlite3.Error, path: Path) -> PlannerError:
    code, where = _code(error), str(path)
    if (
        code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        or "no such table" in str(error)
        or "could not decode" in str(error).lower()
    ):
        return damaged(path, str(error))
    if code == sqlite3.SQLITE_FULL:
        return MachineError(
            "the disk is full, the run was not written",
            where=where,
            mend="Make room, or set PLANNER_LEDGER to a file on another disk",
        )
    if code == sqlite3.SQLITE_IOERR:
        return MachineError(
            f"the disk failed a write or a read ({error}); nothing was half-written",
            where=where,
            mend="Is it full, or over a quota? PLANNER_LEDGER names another place",
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return MachineError(
            f"the ledger cannot be written here ({error})",
            where=where,
            mend="Set PLANNER_LEDGER to a file that can be written",
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return MachineError(
            f"other processes kept the ledger busy for {PATIENCE_SECONDS:.0f} s",
            where=where,
            mend="Try again",
        )
    if code == sqlite3.SQLITE_CONSTRAINT:
        return ProfileError(str(error), where=where)
    return MachineError(f"the ledger failed: {error}", where=where)
