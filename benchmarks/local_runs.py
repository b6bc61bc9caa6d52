"""Runs on this machine: small models of every family are really trained, and the planner's three
bases set beside the clock.

Each run is visited twice, all of them once and then all again, with the predictions in between:
other load on the machine drifts, and the distance between the visits says how far a measurement can
be trusted. Two that disagree get a third.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from benchmarks.local_cases import GPU_RUNS, PROCESSOR_RUNS
from planner.errors import PlannerError
from planner.validate.architectures import resolvable
from planner.validate.cases import Case
from planner.validate.judge import recipe_of_case

BASES = ("datasheet", "calibrated", "exact")
SCATTERED = 0.1


@dataclass(frozen=True)
class Predicted:
    """Seconds of a step on one basis with the 80 % interval, or the reason why there are none;
    bytes where the device counts them."""

    p10: float | None = None
    p50: float | None = None
    p90: float | None = None
    allocated_bytes: float | None = None
    reserved_bytes: float | None = None
    refused: str | None = None


@dataclass
class LocalRun:
    """A run, what its visits measured (seconds of a step), and what each basis said."""

    case: Case
    visits: list[float] = field(default_factory=list)
    peaks: dict[str, int] = field(default_factory=dict)
    out_of_memory: bool = False
    failed: str | None = None
    predicted: dict[str, Predicted] = field(default_factory=dict)

    @property
    def measured(self) -> float | None:
        """The visits' median: of two their middle, of three the one that the others do not drag
        away."""
        return statistics.median(self.visits) if self.visits else None

    @property
    def scatter(self) -> float | None:
        """Between the slowest and the fastest visit, relative to the measurement."""
        return (
            (max(self.visits) - min(self.visits)) / self.measured if len(self.visits) > 1 else None
        )

    @property
    def scattered(self) -> bool:
        """Whether two visits are so far apart that a third must decide."""
        return self.scatter is not None and self.scatter > SCATTERED

    def error(self, basis: str) -> float | None:
        """(predicted − measured) / measured of a step's time."""
        said = self.predicted.get(basis)
        return (
            None
            if self.measured is None or said is None or said.p50 is None
            else said.p50 / self.measured - 1
        )


class Keeps(Protocol):
    """Where visits and predictions go as they are made."""

    def begin(self, run: LocalRun, /) -> None: ...

    def end(self, run: LocalRun, /) -> None: ...

    def predicted(self, run: LocalRun, basis: str, /) -> None: ...


def runs_for(device: str, only: Sequence[str] | None = None) -> list[LocalRun]:
    """The runs of a kind of device. Raises SystemExit for a name that is none of them."""
    known = GPU_RUNS if device.partition(":")[0] == "cuda" else PROCESSOR_RUNS
    unknown = set(only or ()) - {c.id for c in known}
    if unknown:
        raise SystemExit(
            f"no run {', '.join(sorted(unknown))}; there are: {', '.join(c.id for c in known)}"
        )
    return [LocalRun(c) for c in spread_out(known) if not only or c.id in only]


def spread_out(cases: Sequence[Case]) -> list[Case]:
    """The same cases, each the one that is most unlike those before it: whatever ends the runs
    early has then seen the widest spread of tasks, strategies, kinds of models and precisions."""
    left, seen, found = list(cases), set[tuple[str, str]](), list[Case]()
    while left:
        best = max(left, key=lambda case: (_news(case, seen), -left.index(case)))
        left.remove(best)
        found.append(best)
        seen |= _traits(best)
    return found


#: How much a case has to teach that shows one of these for the first time.
_WEIGHTS = {"task": 4, "strategy": 4, "family": 2, "precision": 2, "optimizer": 1}


def _traits(case: Case) -> set[tuple[str, str]]:
    return {(name, str(getattr(case, name))) for name in _WEIGHTS}


def _news(case: Case, seen: set[tuple[str, str]]) -> int:
    return sum(_WEIGHTS[name] for name, _ in _traits(case) - seen)


def visit(
    runs: Iterable[LocalRun],
    device: str,
    folder: Path,
    seconds: float,
    tell: Callable[[str], None] = lambda line: None,
    *,
    kept: Keeps | None = None,
    visits: int | None = None,
) -> None:
    """Train every run for some seconds and note what was measured, in ``kept`` at once. A run that
    fails once is not visited again, nor one that has so many ``visits``."""
    for run in runs:
        if run.failed or run.out_of_memory or (visits is not None and len(run.visits) >= visits):
            continue
        if kept is not None:
            kept.begin(run)
        _visit(run, device, folder, seconds, tell)
        if kept is not None:
            kept.end(run)


def _visit(
    run: LocalRun, device: str, folder: Path, seconds: float, tell: Callable[[str], None]
) -> None:
    from planner.measure.real_run import measure

    try:
        facts, recipe, sizes = question(run.case, folder)
        seen = measure(facts, recipe, device, seconds=seconds, **sizes)
    except PlannerError as error:
        run.failed = str(error)
        tell(f"{run.case.id}: {run.failed}")
        return
    run.out_of_memory = seen.out_of_memory
    if not seen.out_of_memory:
        run.visits.append(seen.step_seconds)
        for name in ("allocated", "reserved"):
            if (peak := getattr(seen, f"peak_{name}_bytes")) is not None:
                run.peaks[name] = peak
        tell(f"{run.case.id}: {1e3 * seen.step_seconds:.1f} ms over {seen.steps} steps")


def predict(
    runs: Iterable[LocalRun],
    device: str,
    folder: Path,
    bases: Sequence[str] = BASES,
    tell: Callable[[str], None] = lambda line: None,
    *,
    kept: Keeps | None = None,
) -> dict[str, list[str]]:
    """Ask the planner for every run on every basis that it was not asked on before. What it refuses
    stands beside the others with its reason. Returns what could not be timed, by basis."""
    from planner.plan.inputs.hardware import with_basis

    specs: dict[str, Any] = {}
    for basis in bases:
        try:
            specs[basis] = with_basis(_spec(device), basis)
        except PlannerError as error:
            tell(f"basis {basis}: {error}")
            specs[basis] = str(error)
    for run in runs:
        for basis in (basis for basis in bases if basis not in run.predicted):
            run.predicted[basis] = _asked(run.case, specs[basis], folder)
            if kept is not None:
                kept.predicted(run, basis)
            if (said := run.predicted[basis]).p50 is not None:
                tell(f"{run.case.id}: {1e3 * said.p50:.1f} ms on the basis {basis}")
    unable = {
        basis: list(getattr(getattr(spec, "timer", None), "notes", ()))
        for basis, spec in specs.items()
    }
    return {f"basis {basis}": notes for basis, notes in unable.items() if notes}


@contextmanager
def watched(device: str, phase: str, doubts: dict[str, list[str]]) -> Iterator[None]:
    """Note under ``phase`` who else used the machine meanwhile, and throttled or drifting
    clocks."""
    from planner.calibrate.operations.backends import backend
    from planner.devices.telemetry.monitor import Monitor

    with Monitor(backend(device)) as monitor:
        yield
    found = [f"{what}. {mend}" for what, mend in monitor.doubts()]
    if found:
        doubts[phase] = found


def question(case: Case, folder: Path) -> tuple[Any, Any, dict[str, int | None]]:
    """(facts, recipe, sizes of the batch) of a case, as ``measure`` and ``evaluate`` both take
    them."""
    from planner.models.resolve import resolve

    facts = resolve(resolvable(case.model, case.architecture, folder), task=case.task, offline=True)
    audio = case.task == "audio_classification"
    return (
        facts,
        recipe_of_case(case, facts.image_size),
        dict(
            micro_batch=case.micro_batch,
            sequence_length=None if audio else case.sequence_length,
            target_length=case.target_length,
            accumulation=case.accumulation,
        ),
    )


@contextmanager
def own_profiles(device: str, file: Path | None) -> Iterator[None]:
    """A copy of the device's profile (``file``, or the one that is found) in a folder of its own,
    without the exact times that earlier questions left: what the benchmark times is its own, and
    the user's profile stays as it is."""
    from planner.devices import profile

    spec = _spec(device)
    kept = profile.load(file) if file is not None else spec.calibration
    before = os.environ.get("PLANNER_DEVICES")
    with tempfile.TemporaryDirectory() as folder:
        if kept is not None:
            profile.save(replace(kept, exact={}), Path(folder) / f"{spec.key}.json")
        os.environ["PLANNER_DEVICES"] = folder
        try:
            yield
        finally:
            os.environ.pop("PLANNER_DEVICES")
            if before is not None:
                os.environ["PLANNER_DEVICES"] = before


def _spec(device: str) -> Any:
    from planner.devices.lookup import resolve_device

    return resolve_device("cpu" if device == "cpu" else "local").spec


def _asked(case: Case, spec: Any, folder: Path) -> Predicted:
    if isinstance(spec, str):
        return Predicted(refused=spec)
    from planner.plan.steps.point import evaluate

    try:
        facts, recipe, sizes = question(case, folder)
        result = evaluate(facts, recipe, spec, **sizes)
    except PlannerError as error:
        return Predicted(refused=str(error))
    time = result.step_seconds
    return Predicted(
        time.p10, time.p50, time.p90, result.allocated_bytes.p50, result.reserved_bytes.p50
    )
