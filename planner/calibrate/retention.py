"""What a calibration keeps: which of a journal's records still count, what the profile before knew,
and where to put everything when its own place is full.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from planner.calibrate import journal as journals
from planner.calibrate.journal import Journal, Record
from planner.devices import profile as device_profiles
from planner.devices.collectives import merged
from planner.devices.processors import local_processor
from planner.devices.profile import DeviceProfile
from planner.devices.specification import all_devices
from planner.errors import FieldName, MachineError, PlannerError


def identified(facts: dict[str, Any]) -> dict[str, Any]:
    """A backend's facts by which the planner finds the device again: a GPU with its key in the GPU
    table, where the driver's name stands there; a processor as the planner names it without torch.
    """
    if facts.get("kind") == "cpu":
        return {**facts, **local_processor()}
    if facts.get("key") or facts.get("kind") != "cuda":
        return facts
    key = next(
        (spec.key for spec in all_devices() if spec.name.lower() == str(facts["name"]).lower()),
        None,
    )
    return {**facts, "key": key} if key else facts


def counting(records: Sequence[Record], facts: dict[str, Any]) -> tuple[list[Record], int]:
    """(the records of sessions on this device with these libraries, how many operations others
    left)."""
    wanted, kept, other, counts = _stand(facts), [], 0, False
    for record in records:
        if record["record"] == "session":
            counts = _stand(record.get("device") or {}) == wanted
        if counts:
            kept.append(record)
        elif record["record"] == "operation" and record.get("seconds") is not None:
            other += 1
    return kept, other


def _stand(facts: dict[str, Any]) -> tuple[Any, ...]:
    """What two runs must share for their times to be those of one device."""
    return tuple(
        facts.get(name) for name in ("name", "kind", "torch", "cuda", "hip", "threads", "mig")
    )


def timed(records: Iterable[Record]) -> dict[str, Record]:
    return {
        r["key"]: r for r in records if r["record"] == "operation" and r.get("seconds") is not None
    }


def notes(damaged: int, other: int, renamed: Path | None, aside: Path | None) -> Iterator[str]:
    if damaged:
        yield f"{damaged} damaged lines of the journal were skipped"
    if other:
        yield (
            f"{other} operations in the journal were measured with other libraries or "
            "settings and are not used"
        )
    if renamed:
        yield f"The journal before this one is kept as {renamed}"
    if aside:
        yield f"The file that was there could not be read as a profile and is kept as {aside}"


def set_aside_unreadable(path: Path) -> Path | None:
    """Rename what stands where the profile goes and cannot be read as one (damaged, from a newer
    planner, another file), so that nothing is written over; its new name. Raises MachineError."""
    if not path.exists():
        return None
    try:
        device_profiles.load(path)
        return None
    except PlannerError:
        pass
    names = (path.with_name(f"{path.name}.unread{'' if i == 0 else f'-{i}'}") for i in range(1000))
    free = next(name for name in names if not name.exists())
    try:
        return path.rename(free)
    except OSError as error:
        raise MachineError(
            f"cannot be set aside: {error.strerror or error}",
            where=str(path),
            mend=journals.elsewhere(),
        ) from error


def with_remembered(
    fitted: DeviceProfile, path: Path, again: bool, timed: Container[str] = ()
) -> DeviceProfile:
    """With what the profile before this one knows and no journal holds: collectives, and exactly
    timed operations of the same libraries. ``timed``: the keys that the journal holds, whether they
    count or not."""
    if not path.exists():
        return fitted
    try:
        before = device_profiles.load(path)
    except PlannerError:  # became unreadable meanwhile
        return fitted
    if before.device.get("name") != fitted.device.get("name"):
        return fitted
    fitted = replace(fitted, collectives=merged(before.collectives, fitted.collectives))
    if again or before.provenance.get("torch") != fitted.provenance.get("torch"):
        return fitted
    return replace(
        fitted,
        exact={key: seconds for key, seconds in before.exact.items() if key not in timed},
        loader={**before.loader, **fitted.loader},
    ).remembering(fitted.exact)


# ---- ends


def nothing(stopped: str | None, code: int, records: Sequence[Record]) -> BaseException:
    """What to raise when no operation was timed."""
    if code == 130:
        return KeyboardInterrupt()
    reasons = [r["failed"] for r in records if r["record"] == "operation" and r.get("failed")]
    why = stopped or (
        f"the last operation said: {reasons[-1]}" if reasons else "the time was too short"
    )
    return MachineError(
        f"no operation could be timed: {why}",
        mend=f"Give it more {FieldName('seconds')}, or another {FieldName('device')}",
    )


def whole(path: Path, journal: Path, records: Sequence[Record]) -> bool:
    """Whether the profile is there and the journal holds every operation that was timed."""
    with contextlib.suppress(PlannerError):
        device_profiles.load(path)
        return set(timed(records)) <= set(timed(journals.read(journal).records))
    return False


def rescued(fitted: DeviceProfile, records: Sequence[Record], path: Path) -> tuple[Path, Path]:
    """Profile and journal in the folder of temporary files. Raises MachineError when that is full
    too."""
    folder = Path(tempfile.mkdtemp(prefix="planner-calibrate-"))
    saved = device_profiles.save(fitted, folder / path.name)
    with Journal(journals.journal_file(saved)) as journal:
        for record in records:
            journal.append(record)
    return saved, journal.path
