"""The order of things in a calibration: the corners of everything first, then host, facts and the
operations by their weight, then once more what looks disturbed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from planner.blame import raised_by_planner
from planner.calibrate import load as loads
from planner.calibrate import retention
from planner.calibrate.journal import Record
from planner.calibrate.priors import prior
from planner.calibrate.session.outcome import Ended, Outcome
from planner.calibrate.session.outliers import outliers
from planner.calibrate.session.plan import (
    FACTS,
    HOST,
    LOADER,
    OUTLIERS,
    QUICK,
    START_UP,
    TRAINER,
    Portion,
)
from planner.calibrate.session.provenance import provenance
from planner.calibrate.session.recording import Recording
from planner.calibrate.session.watch import Watch
from planner.errors import MachineError, PlannerError
from planner.operations.cases import Case, as_dict

if TYPE_CHECKING:
    from planner.calibrate.operations.backends import Backend

#: Seconds of one case: the least that gives a median, and what more of teaches little.
CASE_SECONDS = (0.03, 0.25)
QUICK_CASE_SECONDS, OUTLIER_CASE_SECONDS = 0.04, 0.06
#: Records whose deciles lie closer than this ratio are not measured again.
SCATTERED = 1.1
#: So many operations that fail one after another on a device that still answers mean a fault that
#: no next one escapes.
MOST_FAILURES = 20
STAGES = {
    "host": "what the host needs",
    "facts": "memory and copies",
    "trainer": "a step of Hugging Face's Trainer",
    "start_up": "how long a script takes to start, and a file to be written",
}
#: So many times the seconds that host costs or facts had in the journal make it worth measuring
#: them again.
MORE_TIME = 1.5
AGAIN = "Run planner calibrate again: it goes on from here"


class Run:
    """One run over one device."""

    def __init__(self, backend: Backend, recording: Recording) -> None:
        self._backend, self._recording = backend, recording
        self._plan, self._tools = recording.plan, recording.tools
        self._measured = self._failed = self._failures = 0
        self._timings: list[Any] = []
        self._todo: list[Case] = []
        # what a case takes over the seconds it was given: building its tensors, warming up
        self._overhead = 1.5
        self._case_wall = 0.05
        self._monitor: Any = None
        visit = self._tools.reference(backend) if self._tools.reference is not None else None
        self._watch = Watch(recording, visit, self._tools.pause)
        self._disturbed_stages: dict[str, Callable[[], None]] = {}

    # ---- the order of things

    def outcome(self) -> Outcome:
        stopped, code = None, 0
        try:
            self._begin()
            self._loader()
            self._quick()
            self._stage("host", self._tools.host, HOST)
            self._stage("facts", self._tools.facts, FACTS)
            if self._tools.trainer is not None:
                self._stage("trainer", self._tools.trainer, TRAINER)
            if self._tools.start_up is not None:
                self._stage("start_up", self._tools.start_up, START_UP)
            self._cases(self._recording.end - OUTLIERS.of(self._plan.seconds))
            self._stages_again()
            self._outliers()
            self._cases(self._recording.end)
            self._improve()
            self._compiled()
        except KeyboardInterrupt:
            stopped, code = "interrupted", 130
        except Ended as end:
            stopped, code = str(end), end.exit_code
        # the journal cannot grow: what was measured goes where there is room
        except MachineError as error:
            stopped, code = str(error), error.exit_code
        if self._monitor is not None:
            self._monitor.stop()
        left = len(self._todo) + len(self._watch.held)
        counts = {"measured": self._measured, "failed": self._failed, "left": left}
        return self._recording.finished(stopped, code, counts)

    def _begin(self) -> None:
        self._monitor = self._tools.monitor(self._backend)
        self._monitor.start()
        self._recording.doubts = self._doubts
        self._recording.write(
            {
                "record": "session",
                **provenance(),
                "seconds": self._plan.seconds,
                "compiled": self._plan.compiled,
                "device": self._recording.facts,
            }
        )
        done = loads.quiet_keys(self._recording.records)
        tried = {r["key"] for r in self._recording.records if r["record"] == "operation"}
        wanted = [case for case in self._tools.suite(self._backend) if case.key not in done]
        # what failed before comes last; the order stays otherwise
        self._todo = sorted(wanted, key=lambda case: case.key in tried)

    def _quick(self) -> None:
        """The corners of everything first, so that whatever ends the run finds a usable profile."""
        if not self._recording.remembered:
            self._cases(self._recording.until(QUICK), QUICK_CASE_SECONDS)

    def _stage(self, name: str, measure: Callable[..., Iterator[Record]], portion: Portion) -> None:
        """Host costs or facts: once a journal, and again by a run that has more time for them."""
        seconds = self._recording.until(portion) - self._recording.now
        before = max(
            (
                float(r.get("seconds") or 0.0)
                for r in self._recording.records
                if r["record"] == "stage" and r.get("name") == name
            ),
            default=0.0,
        )
        if seconds <= MORE_TIME * before:
            return
        part = loads.DEVICE if name == "facts" else loads.HOST
        quiet = self._watch.waited(self._recording.now + seconds / 2, part)
        seconds = self._recording.until(portion) - self._recording.now
        self._recording.announce(f"measuring {STAGES[name]}")
        whole = self._drained(
            STAGES[name], lambda: measure(self._backend, budget_seconds=seconds), part
        )
        quiet &= self._watch.stayed_quiet
        if whole and quiet:
            self._recording.write({"record": "stage", "name": name, "seconds": seconds})
        elif not quiet and name not in self._disturbed_stages:
            self._disturbed_stages[name] = lambda: self._stage(name, measure, portion)

    def _stages_again(self) -> None:
        """What was measured under load but the operations, once more in a quiet moment."""
        for again in list(self._disturbed_stages.values()):
            if self._recording.now < self._recording.end:
                again()

    def _loader(self) -> None:
        loader = self._plan.loader
        if loader is not None:
            self._recording.announce("timing the input pipeline")
            seconds = max(1.0, self._recording.until(LOADER) - self._recording.now)
            self._drained("the input pipeline", lambda: loader(seconds))

    def _compiled(self) -> None:
        """Last, since a compiler takes its own time, past the budget of what was asked for beside
        it."""
        known = any(
            r["record"] == "fact" and str(r.get("name")).startswith("compile_")
            for r in self._recording.records
        )
        measure = self._tools.compiled
        if self._plan.compiled and measure is not None and not known:
            self._recording.announce("compiling fused chains")
            self._drained("what torch.compile saves", lambda: measure(self._backend))

    def _drained(
        self, name: str, records: Callable[[], Iterator[Record]], part: str | None = None
    ) -> bool:
        """Write what a program yields; whether it came to its end. A failure of its own is a doubt,
        not the run's end. ``part``: of the machine, whose reference is visited in between."""
        self._watch.stayed_quiet = True
        try:
            for record in records():
                self._recording.write(record)
                if part is not None and self._watch.is_due:
                    self._watch.look(part)
                self._recording.tick(f"measuring {name}")
            if part is not None:
                self._watch.look(part)
            return True
        except (PlannerError, Ended):
            raise
        except Exception as error:
            self._survived(error)
            self._recording.write(
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
        if not self._todo and not self._watch.held:
            return
        self._watch.look()
        while self._recording.now + self._case_wall < end and self._has_more(end):
            given = seconds or _clipped(
                (end - self._recording.now) / (len(self._todo) * self._overhead), CASE_SECONDS
            )
            case = self._todo.pop(0)
            if self._time(case, given):
                self._todo[:0] = self._watch.timed(case)
            self._recording.tick("timing operations")
        self._todo[:0] = self._watch.closed()

    def _has_more(self, end: float) -> bool:
        """Whether a case is left, be it one that waits for a quiet moment."""
        if not self._todo:
            self._todo = self._watch.closed()
        if not self._todo and self._watch.held and self._watch.waited(end):
            self._todo = self._watch.released()
        return bool(self._todo)

    def _outliers(self) -> None:
        """Operations that took longer than their neighbours expect are timed again, when what
        disturbed them may be over."""
        try:
            keys = outliers(self._recording.counted(), self._recording.fitted(search=False))
        except Exception:  # too little to fit yet; the last fit says what else is wrong
            return
        by_key = {case.key: case for case in self._tools.suite(self._backend)}
        for key in keys:
            if self._recording.now + self._case_wall >= self._recording.end:
                return
            if key in by_key:
                self._again(by_key[key], OUTLIER_CASE_SECONDS)
                self._recording.tick("timing doubtful operations again")
        self._watch.look()

    def _improve(self) -> None:
        """With time left, the operations whose samples scatter most are timed again, and pooled
        with what was there."""
        by_key = (
            {case.key: case for case in self._tools.suite(self._backend)}
            if self._recording.now < self._recording.end
            else {}
        )
        scattered = sorted(
            (
                r
                for r in self._recording.counted()
                if r["record"] == "operation" and r["key"] in by_key
            ),
            key=_scatter,
            reverse=True,
        )
        for record in scattered:
            if (
                self._recording.now + self._case_wall >= self._recording.end
                or _scatter(record) < SCATTERED
            ):
                return
            self._again(by_key[record["key"]], CASE_SECONDS[1])
            self._recording.tick("timing scattered operations again")

    def _again(self, case: Case, seconds: float) -> None:
        self._time(case, seconds)
        if self._watch.is_due:
            self._watch.look()

    def _time(self, case: Case, seconds: float) -> bool:
        """Whether it could be timed."""
        began = self._recording.now
        try:
            timing = self._tools.time_case(case, self._backend, budget_seconds=seconds)
        except self._tools.cannot_run as reason:
            self._failed += 1
            self._recording.write(_operation(case, failed=_line(reason)))
            return False
        except (PlannerError, Ended):
            raise
        except Exception as error:
            self._survived(error)
            self._failed += 1
            self._failures += 1
            self._recording.write(_operation(case, failed=_line(error)))
            if self._failures >= MOST_FAILURES:
                raise Ended(
                    f"{MOST_FAILURES} operations in a row failed, the last with: {_line(error)}",
                    MachineError.exit_code,
                ) from error
            return False
        self._failures = 0
        self._measured += 1
        self._timings.append(timing)
        took = self._recording.now - began
        self._overhead += 0.1 * (_clipped(took / seconds, (0.3, 20.0)) - self._overhead)
        self._case_wall += 0.2 * (took - self._case_wall)
        self._recording.write(
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
        return True

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

    def _doubts(self) -> list[tuple[str, str]]:
        watched = self._monitor.doubts() if self._monitor else ()
        return [*watched, *self._tools.doubts_of(self._timings), *self._of_load()]

    def _of_load(self) -> list[tuple[str, str]]:
        """What was measured under load in the end, however often it was tried."""
        records = self._recording.records
        timed, quiet = retention.timed(records), loads.quiet_keys(records)
        loaded = len(timed) - len(quiet & set(timed))
        if not timed or loaded / len(timed) < prior("said_share"):
            return []
        return [
            (
                f"{loaded} of {len(timed)} operations were timed only while other programs slowed "
                "the machine: they are left out, or count by their least sample",
                f"End what else runs. {AGAIN}",
            )
        ]


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
    whose = "a fault of the planner itself: " if raised_by_planner(error) else ""
    return whose + (text or type(error).__name__)[:200]
