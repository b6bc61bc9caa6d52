"""The database file of a ledger: its layout, opening and creating it, transactions, and SQLite's
errors as one line each."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from planner.errors import MachineError, PlannerError, ProfileError

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
_Result = TypeVar("_Result")


class DamagedLedger(ProfileError):
    """What can be read of the ledger is saved by ``planner runs rescue``."""


def check(database: sqlite3.Connection, path: Path) -> None:
    """Look through every page. Raises ProfileError where the file is damaged."""
    with errors_of(path):
        verdict = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise damaged(path, verdict)


def damaged(path: Path, detail: str) -> DamagedLedger:
    detail = detail.splitlines()[-1][:120] if detail else "unreadable"
    return DamagedLedger(
        f"the ledger is damaged ({detail})",
        where=str(path),
        mend=f"What can be read is saved by: planner runs rescue {path}",
    )


# ---------------------------------------------------------------- opening


def _add_folded(database: sqlite3.Connection) -> None:
    """SQL's ``folded(text)``: for comparing whatever the case."""
    database.create_function(
        "folded",
        1,
        lambda text: text.casefold() if isinstance(text, str) else None,
        deterministic=True,
    )


def connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(
        path, timeout=PATIENCE_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        _add_folded(database)
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
        _add_folded(database)
        if _checked_layout(database, path) == 0:
            raise ProfileError("an empty file, not a ledger", where=str(path))
        check(database, path)
        return database


def unwritable(path: Path) -> bool:
    return path.exists() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))


#: In one statement, which sees the file before another process made it a ledger, or after.
_MARKS = """SELECT user_version, application_id, (SELECT count(*) FROM sqlite_master)
FROM pragma_user_version, pragma_application_id"""


def _checked_layout(database: sqlite3.Connection, path: Path) -> int:
    """0 for a database in which nothing is yet. Raises ProfileError for another program's, and for
    a newer planner's."""
    layout, application, tables = database.execute(_MARKS).fetchone()
    if application != APPLICATION:
        if application or layout or tables:
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
    patiently(lambda: database.execute("PRAGMA journal_mode = WAL").fetchone())
    with transaction(database):
        if _checked_layout(database, path) == 0:
            for statement in _SCHEMA:
                database.execute(statement)


# ---------------------------------------------------------------- transactions


@contextlib.contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """All or nothing. The write lock is taken first, so that what is looked up stands until the
    commit."""
    patiently(lambda: database.execute("BEGIN IMMEDIATE"))
    try:
        yield
        patiently(lambda: database.execute("COMMIT"))
    except BaseException:
        if database.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                database.execute("ROLLBACK")
        raise


def patiently(step: Callable[[], _Result]) -> _Result:
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


# ---------------------------------------------------------------- errors


@contextlib.contextmanager
def errors_of(path: Path) -> Iterator[None]:
    """SQLite's errors, as one line each with what to do."""
    try:
        yield
    except PlannerError:
        raise
    except sqlite3.Error as error:
        raise _as_planners(error, path) from error
    except UnicodeDecodeError as error:
        raise damaged(path, "text that is not UTF-8") from error


def _code(error: sqlite3.Error) -> int:
    """The error's kind, without its extension."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def _as_planners(error: sqlite3.Error, path: Path) -> PlannerError:
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
