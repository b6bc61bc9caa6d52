"""The ``exact`` basis: the very operations of a trace, timed on this machine, once.

What was timed is remembered in the device's profile, so that the next question of the same model at
the same sizes times nothing. Operations that cannot run here keep the price of the next best basis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from planner.calibrate.fitting import profile_from
from planner.devices import profile as profiles
from planner.devices.measured import measured_spec
from planner.devices.profile import DeviceProfile
from planner.devices.specification import DeviceSpec
from planner.errors import FieldName, MachineError, PlannerError, QuestionError
from planner.operations.cases import Case, case_of
from planner.operations.registry import kind_of
from planner.trace.table import StepTrace

if TYPE_CHECKING:
    from planner.calibrate.operations.backends import Backend

#: Seconds that timing one operation may take, and all operations of a trace.
EACH_SECONDS, ALL_SECONDS = 0.12, 60.0
#: All of them are visited so often, one after another: what disturbs one visit is over by the next,
#: and the faster counts.
VISITS = 2
#: Of measuring the host's costs where no profile knows them.
HOST_SECONDS = 8.0
Progress = Callable[[str, int, int], None]


@dataclass
class ExactTimer:
    """Times the operations of traces on ``backend``; a ``DeviceSpec.timer``. ``unable``: reason by
    operation; ``doubts``: (what, how to mend it) of the monitor."""

    backend: Backend
    profile: DeviceProfile
    file: Path | None
    progress: Progress | None = None
    new: dict[str, float] = field(default_factory=dict)
    unable: dict[str, str] = field(default_factory=dict)
    doubts: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, trace: StepTrace, dims: np.ndarray, precision: str) -> np.ndarray:
        """Seconds of one call of each signature at one point (``dims`` [n_forms]): float64
        [n_signatures], NaN where it cannot be timed, 0 for what runs no kernel."""
        out = np.full(len(trace.signatures), np.nan)
        wanted: dict[str, Case] = {}
        keys: list[str | None] = []
        for index, signature in enumerate(trace.signatures):
            if not kind_of(signature.op).runs_kernel:
                out[index] = 0.0
                keys.append(None)
                continue
            case = case_of(signature, dims, precision)
            keys.append(case.key)
            if self._known(case.key) is None and case.key not in self.unable:
                wanted.setdefault(case.key, case)
        self._time(wanted, trace)
        for index, key in enumerate(keys):
            known = None if key is None else self._known(key)
            if known is not None:
                out[index] = known
        return out

    def _known(self, key: str) -> float | None:
        found = self.new.get(key)
        return self.profile.exact.get(key) if found is None else found

    def _time(self, wanted: dict[str, Case], trace: StepTrace) -> None:
        """The missing ones, all visited before any is visited again; kept after every trace."""
        if not wanted:
            return
        from planner.calibrate.operations.execute import CannotRun
        from planner.calibrate.operations.timing import time_case
        from planner.devices.telemetry.monitor import Monitor

        each = min(EACH_SECONDS, ALL_SECONDS / len(wanted)) / VISITS
        doing = f"timing the operations of {trace.meta.get('model', 'the model')}"
        with Monitor(self.backend) as monitor:
            for number, (key, case) in enumerate(VISITS * list(wanted.items())):
                if self.progress:
                    self.progress(doing, number, VISITS * len(wanted))
                if key in self.unable:
                    continue
                try:
                    seconds = time_case(case, self.backend, budget_seconds=each).seconds
                    self.new[key] = min(seconds, self.new.get(key, seconds))
                except CannotRun as reason:
                    self.unable[key] = f"{case.signature.op}: {reason}"
        if self.progress:
            self.progress(doing, 1, 1)
        self.doubts += [doubt for doubt in monitor.doubts() if doubt not in self.doubts]
        self.keep()

    def keep(self) -> None:
        """Write what was timed into the profile's file; a disk that refuses costs the next question
        time, not this answer. What was timed in doubtful moments serves this answer, which says so,
        and is not remembered."""
        if self.file is None or not self.new or self.doubts:
            return
        self.profile = self.profile.remembering(self.new)
        try:
            profiles.save(self.profile, self.file)
        except MachineError:
            pass

    @property
    def notes(self) -> list[str]:
        """What was not timed, in one line."""
        if not self.unable:
            return []
        names = sorted({reason.partition(":")[0] for reason in self.unable.values()})
        return [
            f"{len(self.unable)} operations could not be timed here and are priced otherwise: "
            f"{', '.join(names[:4])}" + (" …" if len(names) > 4 else "")
        ]

    @property
    def warnings(self) -> list[str]:
        """What makes the times doubtful, a line each."""
        return [
            f"while the operations were timed, {what}: the times are not kept; ask again when "
            "it is quiet"
            for what, _ in self.doubts
        ]


def exactly(spec: DeviceSpec | None = None, *, progress: Progress | None = None) -> DeviceSpec:
    """The local device on the exact basis. ``spec``: the device that the question names; None: the
    best one here.

    Without a calibration, its host's costs are measured first (some seconds). Raises QuestionError
    for a device that is not this machine's, MachineError when it cannot be used.
    """
    backend, device = _local(spec)
    profile, file = _profile(backend, device, progress)
    known = measured_spec(profile)
    return replace(known, pricing="exact", timer=ExactTimer(backend, profile, file, progress))


def _local(spec: DeviceSpec | None) -> tuple[Backend, dict[str, Any]]:
    from planner.calibrate.operations.backends import backend

    wanted = None if spec is None else "cpu" if spec.vendor == "cpu" else None
    try:
        found = backend(wanted)
    except PlannerError as error:
        raise MachineError(
            f"nothing here to time operations on: {error.what}",
            where=FieldName("exact"),
            mend=f"Leave {FieldName('exact')} out",
        ) from error
    device = found.facts()
    if spec is not None and not _same(spec, device):
        raise QuestionError(
            f"{spec.name} is not this machine's device ({device['name']})",
            where=FieldName("exact"),
            mend=f"Operations are timed on the local device: use {FieldName('gpu')} local, or "
            f"leave {FieldName('exact')} out",
        )
    return found, device


def _same(spec: DeviceSpec, device: dict[str, Any]) -> bool:
    return (
        profiles.file_name(device) == spec.key or str(device["name"]).lower() == spec.name.lower()
    )


def _profile(
    backend: Backend, device: dict[str, Any], progress: Progress | None
) -> tuple[DeviceProfile, Path | None]:
    """(the device's own profile, its file), or one of host costs alone. A shipped profile is not
    written to: its exact times would be another machine's, and what is timed here is kept in the
    user's folder."""
    own = profiles.user_folder() / f"{profiles.file_name(_with_key(device))}.json"
    known = profiles.load(own) if own.is_file() else None
    if known is not None and (known.host or known.curves):
        return known, own
    from planner.calibrate.host.costs import measure_host

    if progress:
        progress("measuring what the host needs for an operation", 0, 1)
    records = [
        {"record": "session", "device": _with_key(device)},
        *measure_host(backend, budget_seconds=HOST_SECONDS),
    ]
    made = profile_from(records)
    return made if known is None else replace(made, collectives=known.collectives), own


def _with_key(device: dict[str, Any]) -> dict[str, Any]:
    """With the key of the table's row that carries the driver's name, so that its file is found
    under it."""
    from planner.devices.specification import all_devices

    if device.get("key") or device.get("kind") == "cpu":
        return device
    row = next((s for s in all_devices() if s.name.lower() == str(device["name"]).lower()), None)
    return device if row is None else {**device, "key": row.key}
