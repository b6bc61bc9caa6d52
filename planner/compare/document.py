"""The documents of ``planner compare``: a question's step beside a recorded one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from planner.calibrate.kineto.recorded import Recorded, recorded
from planner.compare.memories import compared_memory, peaks
from planner.compare.modules import by_module
from planner.compare.own import Predicted, predicted
from planner.compare.same_step import other_step
from planner.compare.snapshot.held import held
from planner.compare.snapshot.reading import read_snapshot
from planner.compare.times import by_kind, by_phase, totals, unforeseen
from planner.question import Question
from planner.trace.source import Progress

SCHEMA = 1


def compare_trace(
    question: Question, trace: Path, progress: Progress | None = None, device: int | None = None
) -> dict[str, Any]:
    """Plain JSON values; seconds of one optimizer step. Raises PlannerError: the trace is read
    before the question is answered."""
    seen = recorded(trace, device)
    own = predicted(question, progress)
    kinds = by_kind(own.step, seen)
    return {
        "schema": SCHEMA,
        "kind": "trace",
        "first_lines": [line.as_dict() for line in own.subject.first_lines],
        "question": own.subject.question.model_dump(mode="json"),
        "option": _option(own),
        "recorded": _recorded(seen),
        "warnings": [
            *_other_device(own, str(seen.device.get("name"))),
            *other_step(own.step, seen, kinds),
            *_timeless(seen),
        ],
        "totals": {**totals(own.step, seen), **peaks(own, seen)},
        "by_kind": kinds,
        "by_phase": by_phase(own.step, seen),
        "modules": by_module(own.step, own.own, seen),
        **unforeseen(own.step, seen),
        "notes": _notes(seen),
    }


def compare_snapshot(
    question: Question, snapshot: Path, progress: Progress | None = None, device: int | None = None
) -> dict[str, Any]:
    """Plain JSON values; bytes of the longest batch's peak beside the recorded peak. Raises
    PlannerError: the snapshot is read, and nothing of it run, before the question is answered."""
    seen = held(read_snapshot(snapshot), snapshot, device)
    own = predicted(question, progress)
    return {
        "schema": SCHEMA,
        "kind": "snapshot",
        "first_lines": [line.as_dict() for line in own.subject.first_lines],
        "question": own.subject.question.model_dump(mode="json"),
        "option": _option(own),
        **compared_memory(own, seen, snapshot),
    }


def _option(own: Predicted) -> dict[str, Any]:
    option, setting = own.subject.option, own.subject.option.setting
    return {
        "strategy": option.strategy,
        "variant": option.variant,
        "model": option.facts.name,
        "gpu": option.rented.spec.name,
        "gpus": option.rented.parallel.devices,
        "basis": option.rented.spec.pricing,
        "micro_batch_size": setting.micro_batch,
        "gradient_accumulation": setting.accumulation,
        "precision": setting.recipe.precision,
        "optimizer": setting.recipe.optimizer,
    }


def _recorded(seen: Recorded) -> dict[str, Any]:
    memory = seen.memory
    return {
        "file": str(seen.path),
        "device": seen.device.get("name") or None,
        "steps": len(seen.steps),
        "are_marked": seen.windows.marked,
        "work_seconds": seen.work_seconds,
        "stream_overlap_share": seen.overlap_share,
        "has_shapes": seen.has_shapes,
        "has_stacks": seen.has_stacks,
        "outside_seconds": seen.outside_seconds,
        "peak_allocated_bytes": None if memory is None else memory.allocated_bytes,
        "peak_reserved_bytes": None if memory is None else memory.reserved_bytes,
    }


def _other_device(own: Predicted, name: str) -> list[str]:
    asked = own.subject.option.rented.spec.name
    known = name not in ("", "None")
    return [f"the trace is of {name}, the question of {asked}"] if known and name != asked else []


def _timeless(seen: Recorded) -> list[str]:
    count = seen.document.timeless
    return [f"left out: {count} operations or kernels whose times are no times"] if count else []


def _notes(seen: Recorded) -> list[str]:
    notes = [
        "seconds are of one optimizer step; kinds and modules are the device's, the step is the "
        "host's and the device's together",
        "a profiler slows the host, so a recorded step and its waiting are upper bounds",
    ]
    if seen.has_stacks:
        notes.append("stacks were recorded: the host took several times as long as without")
    if not seen.windows.marked:
        notes.append(
            "the trace marks no steps: "
            + (
                "each is taken to end with an optimizer's update"
                if len(seen.steps) > 1
                else "all of it is taken as one"
            )
        )
    elif len(seen.steps) == 1:
        notes.append("one step was recorded: what is done once only may lie in it")
    return notes
