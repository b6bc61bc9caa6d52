"""Measured runs against today's estimates: by the planner's own word, by corrections learnt from
other runs, and by those in force.

No run is judged by a correction that it taught: the second account leaves out each kind of model in
turn, the third leaves out the runs that the corrections in force were learnt from.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.errors import FieldName, PlannerError, QuestionError, UnknownNameError
from planner.uncertainty import corrections
from planner.validate import residuals
from planner.validate.cases import Case, Refused
from planner.validate.judge import Outcome, ask, outcome
from planner.validate.summaries import Comparison, ErrorSummary, Verdict, by

if TYPE_CHECKING:
    from planner.devices.specification import DeviceSpec

#: ``best``: calibrated where the device was measured, else its datasheet.
BASES = ("best", "datasheet", "calibrated", "exact")
#: Accounts in the order in which limits take them: the first that judged anything.
ACCOUNTS = {
    "in_force": "with the corrections in force, on runs that taught none of them",
    "plain": "without corrections",
    "left_out": "corrected, each kind of model judged by the others",
}


@dataclass(frozen=True)
class Validation:
    """``plain``: without corrections. ``left_out``: with corrections learnt from every other kind
    of model on the same device, where these say that they help. ``in_force``: with those kept now,
    over the runs that did not teach them (empty without corrections)."""

    cases: int
    plain: tuple[Comparison, ...]
    left_out: tuple[Comparison, ...]
    in_force: tuple[Comparison, ...]
    verdicts: tuple[Verdict, ...]
    refused: tuple[Refused, ...]

    @property
    def today(self) -> str:
        """The account that says how far an answer of today would be off."""
        return "in_force" if self.in_force else "plain"


@dataclass(frozen=True)
class Limits:
    """What a check may demand of every quantity; None demands nothing. Shares: 0.1 is 10 %."""

    median_error: float | None = None
    p90_error: float | None = None
    coverage: float | None = None
    quantities: tuple[str, ...] = field(
        default=("time", "allocated", "reserved", "device", "hours", "usd")
    )

    @property
    def any(self) -> bool:
        return any(
            value is not None for value in (self.median_error, self.p90_error, self.coverage)
        )

    def broken(self, comparisons: Iterable[Comparison]) -> list[str]:
        """One line for each limit that a quantity breaks; empty where all hold."""
        found = []
        for (quantity,), s in by(
            (c for c in comparisons if c.quantity in self.quantities), "quantity"
        ).items():
            found += [
                line
                for line in (
                    _over(quantity, "median error", s.median, self.median_error),
                    _over(quantity, "p90 error", s.p90, self.p90_error),
                    _under(quantity, s, self.coverage),
                )
                if line
            ]
        return found


def _over(quantity: str, what: str, share: float, most: float | None) -> str | None:
    return (
        f"{quantity}: {what} {share:.1%} is above {most:.1%}"
        if most is not None and share > most
        else None
    )


def _under(quantity: str, summary: ErrorSummary, least: float | None) -> str | None:
    broken = least is not None and summary.coverage < least
    return (
        f"{quantity}: the 80 % intervals cover {summary.coverage:.1%}, below {least:.1%}"
        if broken
        else None
    )


def validate(
    cases: Sequence[Case],
    *,
    bases: Sequence[str] = ("best",),
    workers: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
) -> Validation:
    """Ask every case on every basis, with and without the corrections in force. Raises
    QuestionError for an unknown basis, ProfileError for a damaged file of corrections. What cannot
    be asked is among ``refused`` with its reason."""
    unknown = set(bases) - set(BASES)
    if unknown:
        raise QuestionError(
            f"unknown basis {sorted(unknown)[0]!r}",
            where=FieldName("basis"),
            mend=f"Use {', '.join(BASES)}",
        )
    taught, corrected = corrections.taught(), bool(corrections.corrections())
    with tempfile.TemporaryDirectory() as folder:
        work = partial(_both, folder=Path(folder), bases=tuple(bases), corrected=corrected)
        pairs = by_model(cases, work, 1 if "exact" in bases else workers, progress)
    plain = tuple(c for before, _ in pairs for c in before.comparisons)
    judged = tuple(
        c
        for _, after in pairs
        for c in after.comparisons
        if residuals.run_name(c.table, c.case_id) not in taught
    )
    verdicts = tuple(
        o.verdict for before, after in pairs for o in [after if corrected else before] if o.verdict
    )
    return Validation(
        len(cases),
        plain,
        tuple(residuals.left_out(plain)),
        judged,
        verdicts,
        tuple(before.refused for before, _ in pairs if before.refused),
    )


def by_model(
    cases: Sequence[Case],
    work: Callable[[list[Case]], list[Any]],
    workers: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Any]:
    """``work`` on the cases of each model together, so that its trace is made once; everything that
    it gave, in the models' order."""
    ordered = sorted(cases, key=lambda c: (c.model, repr(c.architecture), c.id))
    batches = [
        list(group) for _, group in groupby(ordered, key=lambda c: (c.model, repr(c.architecture)))
    ]
    done = 0

    def tell(batch: list[Case]) -> None:
        nonlocal done
        done += len(batch)
        if progress:
            progress("asking", done, len(cases))

    if workers < 2 or len(batches) < 2:
        return [found for batch in batches for found in (work(batch), tell(batch))[0]]
    with ProcessPoolExecutor(workers) as pool:
        futures = {pool.submit(work, batch): batch for batch in batches}
        for future in as_completed(futures):
            tell(futures[future])
        return [found for future in futures for found in future.result()]


def _both(
    batch: list[Case], *, folder: Path, bases: Sequence[str], corrected: bool
) -> list[tuple[Outcome, Outcome]]:
    """(without corrections, with those in force) of each case on each basis; where there are none,
    the second is empty."""
    devices: dict[tuple[str, str], DeviceSpec | PlannerError] = {}
    found = []
    for case in batch:
        for basis in bases:
            try:
                spec = _device(case.gpu, basis, devices)
            except PlannerError as error:
                refused = Refused(case.id, case.table, str(error)[:160])
                found.append((Outcome(refused=refused), Outcome()))
                continue
            named = replace(case, gpu=spec.key)
            found.append(
                (
                    _one(named, folder, spec, corrections.without()),
                    _one(named, folder, spec, nullcontext()) if corrected else Outcome(),
                )
            )
    return found


def _one(case: Case, folder: Path, spec: Any, context: Any) -> Outcome:
    with context:
        return outcome(case, folder, lambda c, f: ask(c, f, spec))


def _device(
    name: str, basis: str, known: dict[tuple[str, str], DeviceSpec | PlannerError]
) -> DeviceSpec:
    """The device on a basis, looked up once a batch. Raises the error that says why not."""
    from planner.plan.inputs.hardware import with_basis

    if (name, basis) not in known:
        try:
            spec = find(name)
            known[name, basis] = spec if basis == "best" else with_basis(spec, basis)
        except PlannerError as error:
            known[name, basis] = error
    found = known[name, basis]
    if isinstance(found, PlannerError):
        raise found
    return found


def find(name: str) -> DeviceSpec:
    """The device of a key or of what its driver calls it; this machine's processor by its model.
    Raises UnknownNameError."""
    from planner.devices.lookup import resolve_device
    from planner.devices.processors import processor_spec

    try:
        return resolve_device(name).spec
    except UnknownNameError:
        here = processor_spec()
        if name.strip().lower() in (here.name.lower(), here.key):
            return resolve_device("cpu").spec
        raise
