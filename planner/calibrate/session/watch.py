"""How quiet the machine is while a calibration runs: a reference operation is visited around every
group of measurements, and what was timed beside a slow visit is taken again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from planner.calibrate.load import DEVICE, Quiet, is_slow, quiet_of
from planner.calibrate.priors import prior
from planner.calibrate.session.recording import Recording
from planner.operations.cases import Case

#: A visit: the part of the machine → ``mean``, ``least`` seconds and ``clock_mhz``.
Visit = Callable[[str], dict[str, Any]]


class Watch:
    """``visit`` None: nothing is watched, and everything counts. ``held``: cases that wait for a
    quiet moment, the most telling ones first."""

    def __init__(
        self, recording: Recording, visit: Visit | None, pause: Callable[[float], None]
    ) -> None:
        self._recording, self._visit, self._pause = recording, visit, pause
        self.held: list[Case] = []
        self._group: list[Case] = []
        self._taken: dict[str, int] = {}
        self._visits: dict[str, list[dict[str, Any]]] = {}
        for record in recording.records:
            if record["record"] == "reference":
                self._visits.setdefault(record["of"], []).append(record)
        self._quiet: dict[str, Quiet] = {}
        self._last = -float("inf")
        self._was_slow = False
        #: False once a visit was slow; whoever asks sets it True before.
        self.stayed_quiet = True
        self._waited = 0.0

    def look(self, part: str = DEVICE) -> bool:
        """Visit the reference; whether the machine is quiet."""
        if self._visit is None:
            return True
        record = {"record": "reference", "of": part, **self._visit(part)}
        self._recording.write(record)
        self._visits.setdefault(part, []).append(record)
        quiet = quiet_of(self._visits[part])
        self._last = self._recording.now
        self._was_slow = quiet is not None and is_slow(quiet.slowdown(record))
        self.stayed_quiet &= not self._was_slow
        return not self._was_slow

    @property
    def is_due(self) -> bool:
        """Whether the last visit is long enough ago for the next."""
        since = self._recording.now - self._last
        return self._visit is not None and since >= prior("reference_every_seconds")

    # ---- cases

    def timed(self, case: Case) -> list[Case]:
        """A case was timed; what to take (again) next."""
        self._group.append(case)
        return self.closed() if self.is_due else []

    def closed(self) -> list[Case]:
        """The visit after a group; what to take again next, none while the machine is slow."""
        group, self._group = self._group, []
        if self._visit is None or not group:
            return []
        was_slow = self._was_slow
        is_quiet = self.look()
        if was_slow or not is_quiet:
            self._hold(group)
        return self.released() if is_quiet else []

    def released(self) -> list[Case]:
        held, self.held = self.held, []
        return held

    def _hold(self, group: list[Case]) -> None:
        for case in group:
            taken = self._taken[case.key] = self._taken.get(case.key, 0) + 1
            if taken < prior("most_visits"):
                self.held.append(case)

    # ---- waiting

    def waited(self, end: float, part: str = DEVICE) -> bool:
        """Wait for a quiet moment until ``end``, and never longer in all than the plan's share;
        whether there is one."""
        most = prior("waiting_share") * self._recording.plan.seconds
        step = prior("waiting_step_seconds")
        while not self.look(part):
            if self._recording.now + step >= end or self._waited + step > most:
                return False
            self._recording.announce("waiting for a quiet machine")
            began = self._recording.now
            self._pause(step)
            self._waited += self._recording.now - began
        return True
