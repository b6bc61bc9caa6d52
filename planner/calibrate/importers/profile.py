"""A device profile from a table of operations that another program timed, perhaps on another
machine."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planner.calibrate import journal as journals
from planner.calibrate import retention
from planner.calibrate.fitting import profile_from
from planner.calibrate.importers.operation_table import records
from planner.calibrate.session import Outcome
from planner.devices import profile as device_profiles
from planner.errors import FieldName, ProfileError, QuestionError


def import_table(table: Path, gpu: str | None, out: Path | None) -> Outcome:
    """Fit the rows of ``table`` that are of ``gpu`` and write the profile to ``out``, or among the
    user's own under the device's name. The table itself is the raw data, so no journal is written.

    Raises ProfileError for a table that cannot be used, QuestionError where a profile of this
    machine's own measurements would be replaced, MachineError where the place cannot be written.
    """
    began = time.monotonic()
    found = list(records(table, gpu))
    session = next((r for r in found if r["record"] == "session"), None)
    if session is None:
        raise ProfileError(
            "the table does not say which device was measured",
            where=str(table),
            mend=f"Name it with {FieldName('gpu')}",
        )
    session |= {"source": session.get("source") or table.name}
    session |= {"torch": session.get("torch") or (session.get("versions") or {}).get("torch")}
    return kept(found, session, table, out, began)


def kept(
    found: list[dict], session: Mapping[str, Any], source: Path, out: Path | None, began: float
) -> Outcome:
    """The profile of records that somebody else measured, written to ``out`` or among the user's
    own. ``began``: of ``time.monotonic``. Raises QuestionError where a profile of this machine's
    own measurements would be replaced, MachineError where the place cannot be written."""
    path = (
        out
        or device_profiles.user_folder() / f"{device_profiles.file_name(session['device'])}.json"
    )
    if journals.journal_file(path).exists():
        raise QuestionError(
            "this device was calibrated here; a table or a trace would replace that",
            where=str(path),
            mend=f"Name another file with {FieldName('out')}",
        )
    fitted = profile_from(journals.pooled(found))
    aside = retention.set_aside_unreadable(path)
    device_profiles.save(fitted, path)
    return Outcome(
        path=path,
        journal=source,
        profile=fitted,
        measured=len(retention.timed(found)),
        remembered=0,
        failed=0,
        left=0,
        elapsed_seconds=time.monotonic() - began,
        notes=tuple(retention.notes(0, 0, None, aside)),
    )
