"""What a calibration has so far: its records, in the journal at once and in the profile now and
then; and the clock that its seconds are counted by."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from planner.calibrate import journal as journals
from planner.calibrate import load as loads
from planner.calibrate import retention
from planner.calibrate.journal import Journal, Record
from planner.calibrate.session.outcome import Outcome
from planner.calibrate.session.plan import Plan, Portion
from planner.calibrate.tools import Tools
from planner.devices import profile as device_profiles
from planner.devices.profile import DeviceProfile
from planner.errors import MachineError

SAVE_EVERY_SECONDS = 15.0
#: Of the last fit, for each record, before one was timed.
FIT_SECONDS_EACH = 0.001
#: A profile on the way is fitted without a search for length scales; the last one takes so many
#: times as long.
SEARCH_FACTOR = 4.0
Progress = Callable[[str, float, float | None], None]


class Recording:
    """``records``: what the journal holds that counts, old and new. ``doubts``: what those who
    watch the device say of the measurements, asked whenever a profile is fitted."""

    def __init__(
        self,
        facts: dict[str, Any],
        path: Path,
        plan: Plan,
        *,
        journal: Journal,
        tools: Tools,
        progress: Progress,
        aside: Path | None,
    ) -> None:
        self.facts, self.path, self.plan = facts, path, plan
        self.journal, self.tools, self.progress = journal, tools, progress
        contents = journals.read(journal.path)
        self.records, other = retention.counting(contents.records, facts)
        self.remembered = len(retention.timed(self.records))
        self.doubts: Callable[[], Iterable[tuple[str, str]]] = tuple
        self._saved, self._fit_seconds = time.monotonic(), 0.2
        self._notes = tuple(retention.notes(contents.damaged, other, journal.renamed, aside))

    # ---- the clock

    @property
    def now(self) -> float:
        return time.monotonic()

    @property
    def spent(self) -> float:
        """Seconds of the plan that are over."""
        return min(self.now - self.plan.started, self.plan.seconds)

    @property
    def end(self) -> float:
        """When measuring ends, so that fitting the profile ends within the budget too."""
        fitting = max(self._fit_seconds, FIT_SECONDS_EACH * len(self.records))
        return self.plan.started + self.plan.seconds - 1.3 * fitting - 0.2

    def until(self, portion: Portion) -> float:
        return min(self.end, self.now + portion.of(self.plan.seconds))

    # ---- records

    def write(self, record: Record) -> None:
        # seconds into the run: drift can be seen
        record = {**record, "at": round(self.now - self.plan.started, 3)}
        self.records.append(record)
        self.journal.append(record)

    def announce(self, doing: str) -> None:
        self.progress(doing, self.spent, self.plan.seconds)

    def tick(self, doing: str) -> None:
        self.announce(doing)
        now = self.now
        # A profile that takes long to fit is fitted less often; none just before the last one.
        if (
            now - self._saved > max(SAVE_EVERY_SECONDS, 10 * self._fit_seconds / SEARCH_FACTOR)
            and self.end - now > SAVE_EVERY_SECONDS / 2
        ):
            self._save_meanwhile()

    # ---- the profile

    def counted(self) -> list[Record]:
        """One record of each thing that was measured, those under load left out or marked."""
        return journals.pooled(loads.judged(self.records))

    def fitted(self, search: bool) -> DeviceProfile:
        began = self.now
        records = journals.pooled([*self.counted(), *self._doubts()])
        fitted = self.tools.fit(records, search=search)
        self._fit_seconds = (self.now - began) * (1 if search else SEARCH_FACTOR)
        return fitted

    def finished(self, stopped: str | None, code: int, counts: dict[str, int]) -> Outcome:
        """Fit and save what there is, wherever there is room. ``counts``: ``measured``, ``failed``
        and ``left`` operations."""
        if not retention.timed(self.records):
            raise retention.nothing(stopped, code, self.records)
        self.announce("fitting the curves")
        doubts = self._doubts()
        for record in doubts:
            with contextlib.suppress(MachineError):
                self.journal.append(record)
        fitted, path, journal = self.fitted(search=True), self.path, self.journal.path
        self.records += doubts
        try:
            fitted = self._save(fitted)
        except MachineError as error:
            stopped, code = stopped or str(error), error.exit_code
        if code == MachineError.exit_code and not retention.whole(path, journal, self.records):
            path, journal = retention.rescued(fitted, self.records, path)
        return Outcome(
            path=path,
            journal=journal,
            profile=fitted,
            remembered=self.remembered,
            elapsed_seconds=self.now - self.plan.started,
            notes=self._notes,
            stopped=stopped,
            exit_code=code,
            **counts,
        )

    def _save_meanwhile(self) -> None:
        try:
            fitted = self.fitted(search=False)
        # too little yet, or a fault that the last fit will tell; measuring goes on
        except Exception:
            self._saved = self.now
            return
        self._save(fitted)

    def _save(self, fitted: DeviceProfile) -> DeviceProfile:
        timed = retention.timed(self.records)
        whole = retention.with_remembered(fitted, self.path, self.plan.again, timed)
        device_profiles.save(whole, self.path)
        self._saved = self.now
        return whole

    def _doubts(self) -> list[Record]:
        return [{"record": "trust", "what": what, "mend": mend} for what, mend in self.doubts()]
