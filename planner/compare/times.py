"""A step's seconds, ours and recorded, by kind, by phase and by operation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from planner.calibrate.kineto.naming import base_name
from planner.calibrate.kineto.recorded import Recorded
from planner.calibrate.kineto.units import communicates
from planner.explain.clocked import Clocked
from planner.trace.table import PHASES

COMMUNICATION, NO_OPERATION = "communication", "no operation"
_PHASE_OF = {"teacher": "forward", "recompute": "backward"}
#: What is named of what only one side has: a share of that side's step.
LEAST_SHARE = 0.001


def busy_of(step: Clocked) -> np.ndarray:
    """Device seconds of every operation over the whole step, as the answer's step has them:
    [n_ops]."""
    return np.minimum(step.busy, step.spans) * step.times * step.factor


def pair(predicted: float | None, recorded: float | None) -> dict[str, Any]:
    """Both figures and ours over the recorded one, None where that says nothing."""
    ratio = predicted / recorded if predicted is not None and recorded else None
    return {"predicted": predicted, "recorded": recorded, "ratio": ratio}


def totals(step: Clocked, seen: Recorded) -> dict[str, Any]:
    """Seconds of the step, of the device at work, and what is left of it, which is the host's."""
    whole, busy = step.seconds * step.factor, float(busy_of(step).sum())
    exchange = step.exchange_seconds * step.factor
    return {
        "step_seconds": pair(whole, seen.step_seconds),
        "device_busy_seconds": pair(busy, seen.busy_seconds),
        "device_busy_share": pair(busy / whole if whole else None, seen.busy_share),
        "waiting_seconds": pair(
            max(0.0, whole - busy - exchange), max(0.0, seen.step_seconds - seen.busy_seconds)
        ),
        "exchange_seconds": pair(exchange, seen.by_kind().get(COMMUNICATION, 0.0)),
        "launch_latency_seconds": pair(None, seen.latency_seconds),
    }


def by_kind(step: Clocked, seen: Recorded) -> list[dict[str, Any]]:
    """Each kind with its seconds and its calls, the longest first."""
    kinds = np.array(step.done.kinds)[step.trace.op_signature]
    busy, times = busy_of(step), step.times * step.launches
    ours = {str(k): float(busy[kinds == k].sum()) for k in dict.fromkeys(step.done.kinds)}
    calls = {str(k): float(times[kinds == k].sum()) for k in dict.fromkeys(step.done.kinds)}
    theirs, their_calls = seen.by_kind(), seen.calls_by_kind()
    rows = [
        {
            "kind": kind,
            **pair(ours.get(kind, 0.0), theirs.get(kind, 0.0)),
            "predicted_calls": calls.get(kind, 0.0),
            "recorded_calls": their_calls.get(kind, 0.0),
        }
        for kind in dict.fromkeys([*ours, *theirs])
    ]
    return _longest_first(rows)


def by_phase(step: Clocked, seen: Recorded) -> list[dict[str, Any]]:
    """The device's seconds in forward, backward and optimizer; a teacher's pass is forward, what
    checkpointing runs again backward."""
    busy, ours = busy_of(step), defaultdict[str, float](float)
    for index, name in enumerate(PHASES):
        ours[_PHASE_OF.get(name, name)] += float(busy[step.trace.op_phase == index].sum())
    theirs = seen.by_phase()
    names = dict.fromkeys([*ours, *theirs])
    return [{"phase": name, **pair(ours.get(name, 0.0), theirs.get(name, 0.0))} for name in names]


def _longest_first(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kept = [row for row in rows if row["predicted"] or row["recorded"]]
    return sorted(kept, key=lambda row: -max(row["predicted"], row["recorded"]))


# ---- what only one side has


def unforeseen(step: Clocked, seen: Recorded) -> dict[str, list[dict[str, Any]]]:
    """``only_recorded`` and ``only_predicted``: operations by name, with their seconds of a step
    and their calls, that the other side has none of."""
    ours, theirs = _ours(step), _theirs(seen)
    return {
        "only_recorded": _only(theirs, ours, seen.work_seconds),
        "only_predicted": _only(ours, theirs, float(busy_of(step).sum())),
    }


Amounts = dict[str, tuple[str, float, float]]


def _ours(step: Clocked) -> Amounts:
    busy, found = busy_of(step), Amounts()
    names = [_plain(".".join(s.op.split(".")[:2])) for s in step.trace.signatures]
    for signature in range(len(names)):
        mine = step.trace.op_signature == signature
        seconds, calls = float(busy[mine].sum()), float(step.times[mine].sum())
        _add(found, names[signature], step.done.kinds[signature], seconds, calls)
    return found


def _theirs(seen: Recorded) -> Amounts:
    found, steps = Amounts(), len(seen.steps)
    for _, unit in seen.units:
        _add(found, _plain(base_name(unit.name)), unit.kind, unit.seconds / steps, 1 / steps)
    for one in seen.ran:
        if one.unit is None:
            kind = COMMUNICATION if communicates(one) else NO_OPERATION
            _add(found, one.name, kind, (one.end - one.start) / steps, 1 / steps)
    return found


def _plain(name: str) -> str:
    """In place or not, over lists or not: an update tensor by tensor is the same operation."""
    space, _, rest = name.partition(".")
    return f"{space}.{rest.removeprefix('_foreach_').rstrip('_')}"


def _add(found: Amounts, name: str, kind: str, seconds: float, calls: float) -> None:
    _, before, count = found.get(name, (kind, 0.0, 0.0))
    found[name] = kind, before + seconds, count + calls


def _only(mine: Amounts, other: Mapping[str, Any], whole: float) -> list[dict[str, Any]]:
    rows: Iterable[dict[str, Any]] = (
        {"operation": name, "kind": kind, "seconds": seconds, "calls": calls}
        for name, (kind, seconds, calls) in mine.items()
        if name not in other and seconds > LEAST_SHARE * whole
    )
    return sorted(rows, key=lambda row: -row["seconds"])
