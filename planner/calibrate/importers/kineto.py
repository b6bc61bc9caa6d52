"""A device profile from traces that torch.profiler exported while somebody trained.

Seconds of an operation are those of the kernels it launched (of a processor its own), the median
over all steps. What was not understood is said by name. The host's time is taken only where that is
asked for: a profiler slows the host by a factor that no trace tells.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

from planner.calibrate.importers.operation_cases import CannotMap
from planner.calibrate.importers.operation_table import shares_of
from planner.calibrate.importers.profile import kept
from planner.calibrate.importers.recorded_passes import passes_of, share_of_input
from planner.calibrate.importers.recorded_words import Missed, Reading, doubts, first_lines
from planner.calibrate.importers.recorded_words import named as named_missed
from planner.calibrate.kineto.device import named
from planner.calibrate.kineto.host import host_records
from planner.calibrate.kineto.order import OwnStep, lent_doubt, matched
from planner.calibrate.kineto.recorded import Recorded, facts_of, recorded
from planner.calibrate.kineto.units import Unit, communicates
from planner.calibrate.session.outcome import Outcome
from planner.devices.processors import local_processor
from planner.devices.profile import RECORDED_STEPS
from planner.errors import FieldName, ProfileError
from planner.operations.cases import Case, as_dict, case_of

MOST_SAMPLES = 64
LOCAL, COMMUNICATION = "local", "communication"
NOT_IN_AN_OPERATION = "kernels of no recorded operation"

__all__ = ["Missed", "Reading", "TraceImport", "first_lines", "import_traces"]


@dataclass(frozen=True)
class TraceImport:
    outcome: Outcome
    reading: Reading


@dataclass
class _Timed:
    """``input_shares``: of a convolution's backward pass, what its first gradient took."""

    case: Case
    samples: list[float] = field(default_factory=list)
    shared: bool = False
    input_shares: list[float] = field(default_factory=list)


@dataclass
class _Found:
    """What the operations of all traces came to, in seconds of all steps together."""

    cases: dict[str, _Timed] = field(default_factory=dict)
    understood: float = 0.0
    by_order: float = 0.0
    missed: dict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))

    @property
    def usual_share(self) -> float:
        """Of what was understood, what the medians come to."""
        usual = sum(statistics.median(t.samples) * len(t.samples) for t in self.cases.values())
        return usual / self.understood if self.understood else 1.0

    def add(self, cases: list[Case], unit: Unit) -> None:
        self.understood += unit.seconds
        for case, share in zip(cases, shares_of(cases)):
            timed = self.cases.setdefault(case.key, _Timed(case))
            timed.samples.append(unit.seconds * share)
            timed.shared |= len(cases) > 1
            timed.input_shares.append(share_of_input(unit.kernels, unit.kernel_seconds))


def import_traces(
    paths: Sequence[Path],
    gpu: str | None = None,
    out: Path | None = None,
    *,
    device: int | None = None,
    own: OwnStep | None = None,
    with_host: bool = False,
) -> TraceImport:
    """Fit what the traces recorded and write the profile to ``out``, or among the user's own.

    ``gpu``: whose name the profile takes where a trace does not tell, or by another name;
    ``device``: the index of the device that counts; ``own``: our trace of the same step, whose
    sizes are taken, in order, where none were recorded. Raises ProfileError for a trace that cannot
    be used, QuestionError and MachineError as ``import_table``.
    """
    began = time.monotonic()
    seen = [recorded(path, device) for path in paths]
    facts = _device(seen, gpu)
    found = _Found()
    for one in seen:
        _sort_out(one, own, found)
    doubt = None if own is None else lent_doubt([u for one in seen[:1] for u in one.units], own)
    reading = replace(_reading(seen, found, with_host), order_doubt=doubt)
    if not found.cases:
        raise ProfileError(
            f"none of its operations has sizes: {named_missed(reading.missed)}",
            where=", ".join(str(path) for path in paths),
            mend="Record with record_shapes=True, or say what was trained with "
            f"{FieldName('question')} project.yaml",
        )
    records = [*_records(seen, facts, found, reading)]
    outcome = kept(records, records[0], Path(paths[0]), out, began)
    return TraceImport(outcome, reading)


def _device(seen: Sequence[Recorded], gpu: str | None) -> dict[str, Any]:
    """Facts of the device, under the name that is given. Raises ProfileError where none is known,
    and for a processor that is not this machine's."""
    facts = facts_of(seen)
    where = str(seen[0].path)
    if seen[0].on_processor:
        if gpu == LOCAL or facts.get("cores"):
            return local_processor()
        raise ProfileError(
            "a processor ran it, and no trace tells which: its cores and instructions are needed",
            where=where,
            mend=f"On the machine that ran it, say so with {FieldName('gpu')} {LOCAL}",
        )
    if gpu is not None:
        return {**facts, **named(gpu)}
    if not facts.get("name"):
        raise ProfileError(
            "the trace does not say which device ran it",
            where=where,
            mend=f"Name it with {FieldName('gpu')}",
        )
    return facts


# ---- operations


def _sort_out(seen: Recorded, own: OwnStep | None, found: _Found) -> None:
    from planner.calibrate.importers.recorded_cases import cases_of  # imports torch
    from planner.calibrate.importers.recorded_updates import with_lists

    ours = {} if own is None else _by_order(seen, own)
    for _, unit in with_lists(seen.units):
        if unit.kind == COMMUNICATION or unit.seconds <= 0:
            continue
        try:
            found.add(cases_of(unit), unit)
        except CannotMap as error:
            other = ours.get(id(unit))
            if other is None:
                found.missed[unit.name, str(error)] += unit.seconds
            else:
                found.add([other], unit)
                found.by_order += unit.seconds
    for one in seen.ran:
        if one.unit is None and not communicates(one):
            found.missed[one.name, NOT_IN_AN_OPERATION] += one.end - one.start


def _by_order(seen: Recorded, own: OwnStep) -> dict[int, Case]:
    """Identity of a recorded operation → the case that stands in its place of our trace."""
    steps: dict[int, list[Unit]] = defaultdict(list)
    for step, unit in seen.units:
        steps[step].append(unit)
    found: dict[int, Case] = {}
    for units in steps.values():
        for place, ours in matched(units, own).items():
            signature = own.trace.signatures[int(own.trace.op_signature[ours])]
            found[id(units[place])] = case_of(signature, own.dims, own.precision)
    return found


def _reading(seen: Sequence[Recorded], found: _Found, with_host: bool) -> Reading:
    steps = sum(len(one.steps) for one in seen)
    kinds: dict[str, float] = defaultdict(float)
    for one in seen:
        for kind, seconds in one.by_kind().items():
            kinds[kind] += seconds * len(one.steps) / steps
    sent = kinds.get(COMMUNICATION, 0.0)
    computed = sum(kinds.values()) - sent
    whole = computed * steps
    missed = [
        Missed(name, why, seconds / steps, seconds / whole if whole else 0.0)
        for (name, why), seconds in sorted(found.missed.items(), key=lambda item: -item[1])
    ]
    memories = [one.memory for one in seen if one.memory is not None]
    reserved = [m.reserved_bytes for m in memories if m.reserved_bytes is not None]
    latencies = [one.latency_seconds for one in seen if one.latency_seconds is not None]
    return Reading(
        step_seconds=statistics.median(s.seconds for one in seen for s in one.steps),
        steps=steps,
        busy_share=statistics.median(s.busy_share for one in seen for s in one.steps),
        idle_seconds=statistics.median(s.idle_seconds for one in seen for s in one.steps),
        computed_seconds=computed,
        communication_seconds=sent,
        understood_share=found.understood / whole if whole else 0.0,
        usual_share=found.usual_share,
        by_order_share=found.by_order / whole if whole else 0.0,
        by_kind=dict(sorted(kinds.items(), key=lambda item: -item[1])),
        by_phase=_phases(seen, steps),
        missed=tuple(missed),
        launch_latency_seconds=statistics.median(latencies) if latencies else None,
        stream_overlap_share=statistics.fmean(one.overlap_share for one in seen),
        peak_allocated_bytes=max((m.allocated_bytes for m in memories), default=None),
        peak_reserved_bytes=max(reserved, default=None),
        marked=all(one.windows.marked for one in seen),
        timeless_events=sum(one.document.timeless for one in seen),
        has_shapes=all(one.has_shapes for one in seen),
        has_stacks=any(one.has_stacks for one in seen),
        host_taken=with_host,
    )


def _phases(seen: Sequence[Recorded], steps: int) -> dict[str, float]:
    found: dict[str, float] = defaultdict(float)
    for one in seen:
        for phase, seconds in one.by_phase().items():
            found[phase] += seconds * len(one.steps) / steps
    return dict(found)


# ---- records


def _records(
    seen: Sequence[Recorded], facts: dict[str, Any], found: _Found, reading: Reading
) -> Iterator[dict[str, Any]]:
    modified = max(one.path.stat().st_mtime for one in seen)
    yield {
        "record": "session",
        "device": facts,
        "source": ", ".join(one.path.name for one in seen),
        "date": date.fromtimestamp(modified).isoformat(),
        "seconds": sum(step.seconds for one in seen for step in one.steps),
        **{name: facts[name] for name in ("cuda", "driver") if name in facts},
    }
    for timed in found.cases.values():
        yield _operation(timed)
        yield from (_operation(part) for part in _passes(timed))
    if reading.host_taken:
        for one in seen:
            yield from host_records(one)
    yield _fact(RECORDED_STEPS, float(reading.steps), "steps")
    if reading.launch_latency_seconds is not None:
        yield _fact("launch_latency_seconds", reading.launch_latency_seconds, "s")
    yield from doubts(reading)


def _passes(timed: _Timed) -> Iterator[_Timed]:
    """Of a convolution's backward pass, which no curve describes as a whole: each gradient with its
    share of every sample."""
    for number, case in enumerate(passes_of(timed.case)):
        pairs = zip(timed.samples, timed.input_shares)
        samples = [s * (share if number == 0 else 1 - share) for s, share in pairs]
        yield _Timed(case, samples, shared=True)


def _operation(timed: _Timed) -> dict[str, Any]:
    ordered = sorted(timed.samples)
    low, high = (ordered[round(share * (len(ordered) - 1))] for share in (0.1, 0.9))
    every = max(1, len(ordered) // MOST_SAMPLES)
    return {
        "record": "operation",
        "key": timed.case.key,
        "case": as_dict(timed.case),
        "seconds": statistics.median(ordered),
        "low": low,
        "high": high,
        "samples": ordered[::every],
        "repeats": len(ordered),
        "host_seconds": None,
        "joules": None,
        "shared": timed.shared,
    }


def _fact(name: str, value: float, unit: str) -> dict[str, Any]:
    return {"record": "fact", "name": name, "value": value, "unit": unit}
