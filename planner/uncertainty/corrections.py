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
from typing import Any

from planner.devices.profile import user_folder, write
from planner.devices.seal import DIGEST, check_digest, digest_of
from planner.errors import MachineError, ProfileError
from planner.files import loads, read_text
from planner.moment import once

FORMAT = 2
MARK = "planner_corrections"
ANY = "any"
_LEFT_OUT: ContextVar[bool] = ContextVar("corrections_left_out", default=False)


@dataclass(frozen=True)
class Correction:
    """``bias_log``: logarithm of what the planner's middle is multiplied with; ``sigma_log``:
    standard deviation of what is left. ``family``: a modality, or ``any``. ``runs`` measured runs
    of ``models`` models, learnt on ``made`` (ISO date).

    ``in_force``: whether it makes runs that did not teach it better by more than chance. ``judged``
    kinds of models were left out in turn, None where that was never done; ``error_before`` and
    ``error_after``: their median relative errors without it and with it; ``gain_log`` by how much
    |ln(predicted / measured)| fell in the mean of these kinds, ``margin_log`` what it had to."""

    quantity: str  # time | allocated | reserved | context
    basis: str
    device: str  # key of the device
    family: str
    bias_log: float
    sigma_log: float
    runs: int
    models: int
    made: str
    in_force: bool = False
    judged: int | None = None
    error_before: float | None = None
    error_after: float | None = None
    gain_log: float | None = None
    margin_log: float | None = None

    @property
    def source(self) -> str:
        return (
            f"{self.runs} runs of {self.models} models measured on this device, learnt {self.made}"
        )

    @property
    def factor(self) -> float:
        """What a figure's middle is multiplied with."""
        return math.exp(self.bias_log)

    @property
    def judgement(self) -> str:
        """Whether it is in force, and why."""
        if self.judged is None:
            return "not in force: never judged by runs left out; planner correct judges it"
        if self.error_before is None or self.error_after is None:
            return f"not in force: runs of {self.judged} kinds of models are too few to judge it"
        told = f"{self.error_before:.1%} became {self.error_after:.1%} on models left out"
        return told if self.in_force else f"not in force: {told}"


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
    return tuple(c for c in known_corrections() if c.in_force)


def known_corrections() -> tuple[Correction, ...]:
    """Those that were learnt, in force or not. Raises as ``corrections``."""
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
    """The one for this kind of work; else, where this kind was not judged by itself, for any on
    this device. None without one in force."""
    known = known_corrections()
    if not known:
        return None
    own = {
        c.family: c for c in known if (c.quantity, c.basis, c.device) == (quantity, basis, device)
    }
    found = own.get(family) or own.get(ANY)
    return found if found is not None and found.in_force else None


#: What of a step and its memory is corrected; all of it is learnt from measured runs.
QUANTITIES = ("time", "allocated", "reserved", "context")


def in_force_on(basis: str, device: str, family: str) -> tuple[Correction, ...]:
    """Those that move a figure of this kind of work on this device."""
    asked = (
        correction(quantity, basis, device, ANY if quantity == "context" else family)
        for quantity in QUANTITIES
    )
    return tuple(one for one in asked if one is not None)


@cache
def _read(file: Path, _changed: int) -> tuple[tuple[Correction, ...], frozenset[str]]:
    mend = "planner correct makes them anew, planner correct --remove forgets them"
    try:
        written = loads(read_text(file))
        if written[MARK] > FORMAT:
            raise ProfileError(
                f"written by a newer planner (layout {written[MARK]})",
                where=str(file),
                mend="Update planner",
            )
        check_digest(written, str(file), mend)
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
    written: dict[str, Any] = {
        MARK: FORMAT,
        "corrections": [asdict(c) for c in found],
        "taught": sorted(set(taught_by)),
    }
    text = json.dumps({**written, DIGEST: digest_of(written)}, indent=1) + "\n"
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
