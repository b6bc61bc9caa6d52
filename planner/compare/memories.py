"""Bytes of a step's peak, ours beside a recorded allocator's."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from planner.calibrate.kineto.recorded import Recorded
from planner.compare.own import Predicted
from planner.compare.snapshot.held import Held
from planner.compare.times import pair
from planner.explain.clocked import clocked
from planner.explain.memories import memory_at_peak
from planner.memory.history import history
from planner.memory.runtime import runtime_memory
from planner.trace.table import CATEGORIES

#: Of the largest allocations on each side.
LARGEST = 12
WORKSPACE, FROM_BEFORE = "workspace of the matrix library", "before the step"


def compared_memory(own: Predicted, seen: Held, path: Path) -> dict[str, Any]:
    """The parts of the document that are of memory."""
    option = own.subject.option
    memory = option.setting.proven_memory
    ours = memory_at_peak(
        option,
        clocked(own.subject.question, option.placement.heaviest, option.rented, longest=True),
    )
    unused = memory.reserved_bytes.p50 - memory.allocated_bytes.p50
    return {
        "recorded": _recorded(seen, path),
        "warnings": _warnings(seen),
        "totals": {
            "peak_allocated_bytes": pair(memory.allocated_bytes.p50, seen.peak_allocated_bytes),
            "peak_reserved_bytes": pair(memory.reserved_bytes.p50, seen.peak_reserved_bytes),
            "reserved_and_unused_bytes": pair(max(0.0, unused), seen.reserved_at_peak_unused_bytes),
        },
        "predicted_by_category": {k: v for k, v in ours["by_category"].items() if v},
        "recorded_by_origin": seen.by_origin(),
        "predicted_peak": ours["peak"],
        "predicted_largest": _largest(own),
        "recorded_largest": [
            {"place": place, "bytes": size} for place, size in _first(seen.by_place())
        ],
        "notes": _notes(seen),
    }


def peaks(own: Predicted, seen: Recorded) -> dict[str, Any]:
    """Of a GPU's trace that holds the allocator's events (``profile_memory=True``); ours are of the
    longest batch."""
    if seen.memory is None or seen.on_processor:
        return {}
    memory = own.subject.option.setting.proven_memory
    return {
        "peak_allocated_bytes": pair(memory.allocated_bytes.p50, seen.memory.allocated_bytes),
        "peak_reserved_bytes": pair(memory.reserved_bytes.p50, seen.memory.reserved_bytes),
    }


def _recorded(seen: Held, path: Path) -> dict[str, Any]:
    return {
        "file": str(path),
        "device": f"cuda:{seen.device}",
        "events": seen.events,
        "segments": seen.segments,
        "largest_segment_bytes": seen.largest_segment_bytes,
        "end_allocated_bytes": seen.end_allocated_bytes,
        "end_reserved_bytes": seen.end_reserved_bytes,
        "live_blocks_at_peak": len(seen.live),
        "is_whole": seen.is_whole,
        "has_stacks": seen.has_stacks,
        "out_of_memory_events": seen.ran_out,
    }


def _warnings(seen: Held) -> list[str]:
    found = []
    if seen.ran_out:
        times = "once" if seen.ran_out == 1 else f"{seen.ran_out} times"
        found.append(f"the allocator ran out of memory {times} while recording")
    if not seen.events:
        found.append("no event was recorded: only the state at the end is known, no peak")
    return found


def _notes(seen: Held) -> list[str]:
    notes = ["bytes are at the peak of the longest batch; the runtime's context is on neither side"]
    if seen.events and not seen.is_whole:
        notes.append(
            "the recording began while tensors were alive: what took them is not known, and an "
            "earlier peak is not seen"
        )
    if not seen.has_stacks:
        notes.append("no stacks were recorded: _record_memory_history(stacks='all') tells lines")
    return notes


def _first(sums: dict[str, int]) -> list[tuple[str, int]]:
    return list(sums.items())[:LARGEST]


def _largest(own: Predicted) -> list[dict[str, Any]]:
    """Of our blocks at the peak, by the module and the operation that took them."""
    option = own.subject.option
    heaviest = option.placement.heaviest
    point = {"B": heaviest.micro_batch, **heaviest.longest}
    trace = heaviest.source.largest.at(**point)
    seen = history(
        trace,
        point,
        accumulation=heaviest.accumulation,
        workspace=runtime_memory(option.rented.spec).workspace,
    )
    sums: dict[tuple[str, str, str], int] = defaultdict(int)
    for storage, size in zip(seen.storage.tolist(), seen.moment.block_bytes.tolist()):
        if storage < 0:
            sums[WORKSPACE, "", "temporary"] += size
            continue
        birth = int(trace.birth[storage])
        op = FROM_BEFORE if birth < 0 else trace.signatures[int(trace.op_signature[birth])].op
        module = trace.modules[int(trace.storage_module[storage])]
        sums[op, module, CATEGORIES[int(trace.category[storage])]] += size
    ordered = sorted(sums.items(), key=lambda item: -item[1])[:LARGEST]
    return [
        {"operation": op, "module": module, "category": category, "bytes": size}
        for (op, module, category), size in ordered
    ]
