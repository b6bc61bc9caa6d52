"""One calibration: what is measured in which order, within its seconds, and what is left when
something ends it early.

Every measurement goes into the journal at once; the profile is fitted from the journal now and then
and at the end. So a run that is killed has lost nothing but the time since its last line, and the
next one goes on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from planner.calibrate import journal as journals
from planner.calibrate import keeping
from planner.calibrate.doubtful import doubtful
from planner.calibrate.journal import Journal, Record
from planner.calibrate.provenance import provenance
from planner.calibrate.tools import Tools, tools
from planner.devices import profile as device_profiles
from planner.devices.profile import DeviceProfile
from planner.errors import FieldName, MachineError, PlannerError, QuestionError
from planner.operations.cases import Case, as_dict

SAVE_EVERY_SECONDS = 15.0
#: Seconds of one case: the least that gives a median, and what more of teaches little.
CASE_SECONDS = (0.03, 0.25)
QUICK_CASE_SECONDS, DOUBTFUL_CASE_SECONDS = 0.04, 0.06
#: (share of the budget, at most seconds) of what is measured beside the operations.
QUICK, HOST, FACTS, LOADER, DOUBTFUL = (
    (0.20, 5.0),
    (0.20, 15.0),
    (0.10, 6.0),
    (0.20, 10.0),
    (0.15, 20.0),
)
LEAST_SECONDS = 2.0
#: Of the last fit, for each record, before one was timed.
FIT_SECONDS_EACH = 0.001
#: A profile on the way is fitted without a search for length scales; the last one takes so many
#: times as long.
SEARCH_FACTOR = 4.0
#: So many operations that fail one after another on a device that still answers mean a fault that
#: no next one escapes.
MOST_FAILURES = 20
STAGES = {"host": "what the host needs", "facts": "memory and copies"}
#: So many times the seconds that host costs or facts had in the journal make it worth measuring
#: them again.
MORE_TIME = 1.5
AGAIN = "Run planner calibrate again: it goes on from here"
Progress = Callable[[str, float, float | None], None]


@dataclass(frozen=True)
class Plan:
    """``started``: of ``time.monotonic``, from when the seconds count. ``loader``: measures the
    input pipeline, given its seconds; None where no data was named."""

    seconds: float = 60.0
    again: bool = False
    compiled: bool = False
    started: float = field(default_factory=time.monotonic)
    loader: Callable[[float], Iterator[Record]] | None = None

    def __post_init__(self):
        if not LEAST_SECONDS <= self.seconds < 1e6:
            raise QuestionError(
                f"{self.seconds:g} s is no time to measure in",
                where=FieldName("seconds"),
                mend="15 gives a usable profile, 60 a good one",
            )


@dataclass(frozen=True)
class Outcome:
    """``stopped``: why it ended before its time, one line, None otherwise; ``exit_code`` says which
    kind of end."""

    path: Path
    journal: Path
    profile: DeviceProfile
    measured: int
    remembered: int
    failed: int
    left: int
    elapsed_seconds: float
    notes: tuple[str, ...] = ()
    stopped: str | None = None
    exit_code: int = 0


class Ended(Exception):
    """The run is over before its time. Not an error of what is measuring, so nothing on the way
    catches it."""

    def __init__(self, why: str, exit_code: int):
        super().__init__(why)
        self.exit_code = exit_code


def calibrate(
    backend,
    folder: Path,
    *,
    seconds: float = 60.0,
    compiled: bool = False,
    progress: Progress | None = None,
    again: bool = False,
) -> Path:
    """Measure the device within ``seconds`` and write its profile into ``folder``; the profile's
    path.

    Raises MachineError where the folder cannot be written or another calibration of the device is
    running.
    """
    return measure(
        backend,
        place(backend, folder),
        Plan(seconds=seconds, compiled=compiled, again=again),
        progress=progress,
    ).path


def place(backend, folder: Path | None = None) -> Path:
    """Where the profile of a device goes: into ``folder``, by default the user's own."""
    return (
        folder or device_profiles.user_folder()
    ) / f"{device_profiles.file_name(keeping.identified(backend.facts()))}.json"


def measure(
    backend, path: Path, plan: Plan, *, progress: Progress | None = None, using: Tools | None = None
) -> Outcome:
    """As ``calibrate``, with all that there is to say of the run. Ctrl-C and SIGTERM end it and
    keep what was measured.

    Raises KeyboardInterrupt when it is interrupted before anything was measured, MachineError as
    ``calibrate``.
    """
    using = using or tools()
    with (
        _terminable(),
        journals.locked(_device_lock(backend), f"{backend.device}"),
        Journal(journals.beside(path), again=plan.again) as journal,
    ):
        aside = keeping.set_aside_unreadable(path)
        return _Run(backend, path, plan, journal, using, progress or _silent, aside).outcome()


def _silent(_what: str, _done: float, _total: float | None = None) -> None:
    pass


def _device_lock(backend) -> Path:
    """Two calibrations of one device disturb each other wherever they write."""
    who = os.getuid() if hasattr(os, "getuid") else 0
    return (
        Path(tempfile.gettempdir())
        / f"planner-calibrate-{who}-{str(backend.device).replace(':', '-')}.lock"
    )


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the run as Ctrl-C does. Only the main thread may say so to Python."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _frame) -> None:
        raise Ended("terminated", 128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Run:
    """The state of one run. ``_records`` is what the journal holds that counts, old and new."""

    def __init__(
        self,
        backend,
        path: Path,
        plan: Plan,
        journal: Journal,
        using: Tools,
        progress: Progress,
        aside: Path | None,
    ):
        self._backend, self._path, self._plan, self._journal, self._tools, self._progress = (
            backend,
            path,
            plan,
            journal,
            using,
            progress,
        )
        self._facts = keeping.identified(backend.facts())
        contents = journals.read(journal.path)
        self._records, other = keeping.counting(contents.records, self._facts)
        self._remembered = len(keeping.timed(self._records))
        self._measured = self._failed = self._failures = 0
        self._timings: list[Any] = []
        self._todo: list[Case] = []
        self._saved, self._fit_seconds = time.monotonic(), 0.2
        # what a case takes over the seconds it was given: building its tensors, warming up
        self._overhead = 1.5
        self._case_wall = 0.05
        self._notes = list(keeping.notes(contents.damaged, other, journal.renamed, aside))
        self._monitor = None

    # ---- the order of things

    def outcome(self) -> Outcome:
        stopped, code = None, 0
        try:
            self._begin()
            self._loader()
            self._quick()
            self._stage("host", self._tools.host, HOST)
            self._stage("facts", self._tools.facts, FACTS)
            self._cases(self._end - min(DOUBTFUL[0] * self._plan.seconds, DOUBTFUL[1]))
            self._doubtful()
            self._cases(self._end)
            self._improve()
            self._compiled()
        except KeyboardInterrupt:
            stopped, code = "interrupted", 130
        except Ended as end:
            stopped, code = str(end), end.exit_code
        # the journal cannot grow: what was measured goes where there is room
        except MachineError as error:
            stopped, code = str(error), error.exit_code
        return self._finished(stopped, code)

    @property
    def _end(self) -> float:
        """When measuring ends, so that fitting the profile ends within the budget too."""
        fitting = max(self._fit_seconds, FIT_SECONDS_EACH * len(self._records))
        return self._plan.started + self._plan.seconds - 1.3 * fitting - 0.2

    def _until(self, share: tuple[float, float]) -> float:
        return min(self._end, time.monotonic() + min(share[0] * self._plan.seconds, share[1]))

    def _begin(self) -> None:
        self._monitor = self._tools.monitor(self._backend)
        self._monitor.start()
        self._write(
            {
                "record": "session",
                **provenance(),
                "seconds": self._plan.seconds,
                "compiled": self._plan.compiled,
                "device": self._facts,
            }
        )
        done = set(keeping.timed(self._records))
        tried = {r["key"] for r in self._records if r["record"] == "operation"}
        wanted = [case for case in self._tools.suite(self._backend) if case.key not in done]
        # what failed before comes last; the order stays otherwise
        self._todo = sorted(wanted, key=lambda case: case.key in tried)

    def _quick(self) -> None:
        """The corners of everything first, so that whatever ends the run finds a usable profile."""
        if not self._remembered:
            self._cases(self._until(QUICK), QUICK_CASE_SECONDS)

    def _stage(
        self, name: str, measure: Callable[..., Iterator[Record]], share: tuple[float, float]
    ) -> None:
        """Host costs or facts: once a journal, and again by a run that has more time for them."""
        seconds = self._until(share) - time.monotonic()
        before = max(
            (
                float(r.get("seconds") or 0.0)
                for r in self._records
                if r["record"] == "stage" and r.get("name") == name
            ),
            default=0.0,
        )
        if seconds <= MORE_TIME * before:
            return
        self._progress(f"measuring {STAGES[name]}", self._spent, self._plan.seconds)
        if self._drained(STAGES[name], lambda: measure(self._backend, budget_seconds=seconds)):
            self._write({"record": "stage", "name": name, "seconds": seconds})

    def _loader(self) -> None:
        if self._plan.loader is not None:
            self._progress("timing the input pipeline", self._spent, self._plan.seconds)
            self._drained(
                "the input pipeline",
                lambda: self._plan.loader(max(1.0, self._until(LOADER) - time.monotonic())),
            )

    def _compiled(self) -> None:
        """Last, since a compiler takes its own time, past the budget of what was asked for beside
        it."""
        known = any(
            r["record"] == "fact" and str(r.get("name")).startswith("compile_")
            for r in self._records
        )
        if self._plan.compiled and self._tools.compiled is not None and not known:
            self._progress("compiling fused chains", self._spent, self._plan.seconds)
            self._drained("what torch.compile saves", lambda: self._tools.compiled(self._backend))

    def _drained(self, name: str, records: Callable[[], Iterator[Record]]) -> bool:
        """Write what a program yields; whether it came to its end. A failure of its own is a doubt,
        not the run's end."""
        try:
            for record in records():
                self._write(record)
                self._tick(f"measuring {name}")
            return True
        except (PlannerError, Ended):
            raise
        except Exception as error:
            self._survived(error)
            self._write(
                {
                    "record": "trust",
                    "what": f"{name} could not be measured whole: {_line(error)}",
                    "mend": AGAIN,
                }
            )
            return False

    # ---- operations

    def _cases(self, end: float, seconds: float | None = None) -> None:
        """Cases in their order until ``end``; ``seconds`` each, else what is left shared among
        those left."""
        while self._todo and time.monotonic() + self._case_wall < end:
            given = seconds or _clipped(
                (end - time.monotonic()) / (len(self._todo) * self._overhead), CASE_SECONDS
            )
            case = self._todo.pop(0)
            self._time(case, given)
            self._tick("timing operations")

    def _doubtful(self) -> None:
        """Operations that took longer than their neighbours expect are timed again, when what
        disturbed them may be over."""
        try:
            keys = doubtful(journals.pooled(self._records), self._fitted(search=False))
        except Exception:  # too little to fit yet; the last fit says what else is wrong
            return
        by_key = {case.key: case for case in self._tools.suite(self._backend)}
        for key in keys:
            if time.monotonic() + self._case_wall >= self._end:
                return
            if key in by_key:
                self._time(by_key[key], DOUBTFUL_CASE_SECONDS)
                self._tick("timing doubtful operations again")

    def _improve(self) -> None:
        """With time left, the operations whose samples scatter most are timed again, and pooled
        with what was there."""
        by_key = (
            {case.key: case for case in self._tools.suite(self._backend)}
            if time.monotonic() < self._end
            else {}
        )
        scattered = sorted(
            (
                r
                for r in journals.pooled(self._records)
                if r["record"] == "operation" and r["key"] in by_key
            ),
            key=_scatter,
            reverse=True,
        )
        for record in scattered:
            if time.monotonic() + self._case_wall >= self._end or _scatter(record) < 1.1:
                return
            self._time(by_key[record["key"]], CASE_SECONDS[1])
            self._tick("timing scattered operations again")

    def _time(self, case: Case, seconds: float) -> None:
        began = time.monotonic()
        try:
            timing = self._tools.time_case(case, self._backend, budget_seconds=seconds)
        except self._tools.cannot_run as reason:
            self._failed += 1
            self._write(_operation(case, failed=_line(reason)))
            return
        except (PlannerError, Ended):
            raise
        except Exception as error:
            self._survived(error)
            self._failed += 1
            self._failures += 1
            self._write(_operation(case, failed=_line(error)))
            if self._failures >= MOST_FAILURES:
                raise Ended(
                    f"{MOST_FAILURES} operations in a row failed, the last with: {_line(error)}",
                    MachineError.exit_code,
                ) from error
            return
        self._failures = 0
        self._measured += 1
        self._timings.append(timing)
        took = time.monotonic() - began
        self._overhead += 0.1 * (_clipped(took / seconds, (0.3, 20.0)) - self._overhead)
        self._case_wall += 0.2 * (took - self._case_wall)
        self._write(
            _operation(
                case,
                seconds=timing.seconds,
                low=timing.low_seconds,
                high=timing.high_seconds,
                samples=[float(f"{s:.5g}") for s in timing.samples],
                repeats=timing.repeats,
                host_seconds=timing.host_seconds,
                joules=timing.joules,
                **self._readings(),
            )
        )

    def _readings(self) -> dict[str, Any]:
        readings = self._monitor.readings() or {}
        return {name: readings.get(name) for name in ("watts", "sm_clock_mhz", "temperature_c")}

    def _survived(self, error: Exception) -> None:
        """After a failure: does the device still answer? Raises Ended when not."""
        try:
            self._backend.synchronise()
        except Exception as dead:
            raise Ended(
                f"the device stopped answering ({_line(dead)})", MachineError.exit_code
            ) from error

    # ---- keeping

    @property
    def _spent(self) -> float:
        return min(time.monotonic() - self._plan.started, self._plan.seconds)

    def _write(self, record: Record) -> None:
        # seconds into the run: drift can be seen
        record = {**record, "at": round(time.monotonic() - self._plan.started, 3)}
        self._records.append(record)
        self._journal.append(record)

    def _tick(self, what: str) -> None:
        self._progress(what, self._spent, self._plan.seconds)
        now = time.monotonic()
        # A profile that takes long to fit is fitted less often; none just before the last one.
        if (
            now - self._saved > max(SAVE_EVERY_SECONDS, 10 * self._fit_seconds / SEARCH_FACTOR)
            and self._end - now > SAVE_EVERY_SECONDS / 2
        ):
            self._save_meanwhile()

    def _save_meanwhile(self) -> None:
        try:
            fitted = self._fitted(search=False)
        # too little yet, or a fault that the last fit will tell; measuring goes on
        except Exception:
            self._saved = time.monotonic()
            return
        self._save(fitted)

    def _fitted(self, search: bool) -> DeviceProfile:
        began = time.monotonic()
        fitted = self._tools.fit(journals.pooled([*self._records, *self._doubts()]), search=search)
        self._fit_seconds = (time.monotonic() - began) * (1 if search else SEARCH_FACTOR)
        return fitted

    def _save(self, fitted: DeviceProfile) -> DeviceProfile:
        whole = keeping.with_remembered(fitted, self._path, self._plan.again)
        device_profiles.save(whole, self._path)
        self._saved = time.monotonic()
        return whole

    def _doubts(self) -> list[Record]:
        found = [
            *(self._monitor.doubts() if self._monitor else ()),
            *self._tools.doubts_of(self._timings),
        ]
        return [{"record": "trust", "what": what, "mend": mend} for what, mend in found]

    def _finished(self, stopped: str | None, code: int) -> Outcome:
        """Fit and save what there is, wherever there is room."""
        if self._monitor is not None:
            self._monitor.stop()
        if not keeping.timed(self._records):
            raise keeping.nothing(stopped, code, self._records)
        self._progress("fitting the curves", self._spent, self._plan.seconds)
        doubts = self._doubts()
        for record in doubts:
            with contextlib.suppress(MachineError):
                self._journal.append(record)
        fitted, path, journal = self._fitted(search=True), self._path, self._journal.path
        self._records += doubts
        try:
            fitted = self._save(fitted)
        except MachineError as error:
            stopped, code = stopped or str(error), error.exit_code
        if code == MachineError.exit_code and not keeping.whole(path, journal, self._records):
            path, journal = keeping.rescued(fitted, self._records, path)
        return Outcome(
            path,
            journal,
            fitted,
            self._measured,
            self._remembered,
            self._failed,
            len(self._todo),
            time.monotonic() - self._plan.started,
            tuple(self._notes),
            stopped,
            code,
        )


# ---- small things


def _operation(case: Case, **measured: Any) -> Record:
    return {"record": "operation", "key": case.key, "case": as_dict(case), **measured}


def _scatter(record: Record) -> float:
    low, high = record.get("low"), record.get("high")
    return high / low if low and high else 0.0


def _clipped(value: float, limits: tuple[float, float]) -> float:
    return min(max(value, limits[0]), limits[1])


def _line(error: BaseException) -> str:
    """One line of an error, torch's advice on CUDA's environment variables left out."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return (text or type(error).__name__)[:200]
