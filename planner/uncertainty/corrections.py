"""What the user's own measured runs taught about the planner's errors: data beside the device
profiles, visible and removable.

``planner.validate.correct`` learns them from the ledger; here they are only read. A correction
moves a figure's middle and sets its spread, for one quantity on one device and basis, for a kind of
work or for any.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from planner.devices.profile import user_folder, write
from planner.errors import MachineError, ProfileError
from planner.moment import once

FORMAT = 1
MARK = "planner_corrections"
ANY = "any"
_LEFT_OUT: ContextVar[bool] = ContextVar("corrections_left_out", default=False)


@dataclass(frozen=True)
class Correction:
    """``bias_log``: logarithm of what the planner's middle is multiplied with; ``sigma_log``:
    standard deviation of what is left. ``family``: a modality, or ``any``. ``runs`` measured runs
    of ``models`` models, learnt on ``made`` (ISO date)."""

    quantity: str  # time | allocated | reserved | context
    basis: str
    device: str  # key of the device
    family: str
    bias_log: float
    sigma_log: float
    runs: int
    models: int
    made: str

    @property
    def source(self) -> str:
        return (
            f"{self.runs} runs of {self.models} models measured on this device, learnt {self.made}"
        )


def corrections_file() -> Path:
    return _in(user_folder())


@cache
def _in(folder: Path) -> Path:
    return folder / "corrections.json"


@contextmanager
def without() -> Iterator[None]:
    """Inside, no correction is in force: what the planner says by itself, which is what corrections
    are learnt from."""
    token = _LEFT_OUT.set(True)
    try:
        yield
    finally:
        _LEFT_OUT.reset(token)


def corrections() -> tuple[Correction, ...]:
    """Those in force; none without a file. Raises ProfileError, in one line, for a damaged or newer
    file."""
    return () if _LEFT_OUT.get() else once("corrections", _kept)[0]


def taught() -> frozenset[str]:
    """The runs that those in force were learnt from, as ``keep`` was told them: never to be judged
    by what they taught."""
    return _kept()[1]


def _kept() -> tuple[tuple[Correction, ...], frozenset[str]]:
    file = corrections_file()
    try:
        changed = file.stat().st_mtime_ns
    except OSError:
        return (), frozenset()
    return _read(file, changed)


def correction(quantity: str, basis: str, device: str, family: str) -> Correction | None:
    """The one for this kind of work, else for any on this device; None without one."""
    known = corrections()
    if not known:
        return None
    own = {
        c.family: c for c in known if (c.quantity, c.basis, c.device) == (quantity, basis, device)
    }
    return own.get(family) or own.get(ANY)


@cache
def _read(file: Path, _changed: int) -> tuple[tuple[Correction, ...], frozenset[str]]:
    mend = "planner correct makes them anew, planner correct --remove forgets them"
    try:
        written = json.loads(file.read_text(encoding="utf-8"))
        if written[MARK] > FORMAT:
            raise ProfileError(
                f"written by a newer planner (layout {written[MARK]})",
                where=str(file),
                mend="Update planner",
            )
        found = tuple(Correction(**values) for values in written["corrections"])
        if any(
            not (math.isfinite(c.bias_log) and abs(c.bias_log) < 5 and 0 < c.sigma_log < 5)
            for c in found
        ):
            raise ValueError("a correction that no run teaches")
        return found, frozenset(map(str, written.get("taught", ())))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ProfileError(
            f"cannot read the corrections: {error}", where=str(file), mend=mend
        ) from error


def keep(found: Iterable[Correction], taught_by: Iterable[str] = ()) -> Path:
    """Write atomically, in place of those before; ``taught_by``: the runs they were learnt from.
    Raises MachineError when the disk refuses."""
    text = (
        json.dumps(
            {
                MARK: FORMAT,
                "corrections": [asdict(c) for c in found],
                "taught": sorted(set(taught_by)),
            },
            indent=1,
        )
        + "\n"
    )
    return write(corrections_file(), text, "the corrections")


def forget() -> bool:
    """Remove them all; whether there were any."""
    try:
        corrections_file().unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise MachineError(
            f"cannot remove the corrections: {error.strerror or error}",
            where=str(corrections_file()),
        ) from error
    return True
