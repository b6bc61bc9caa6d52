"""Whether a recorded step can be the planned one: by the number of the operations that every step
of a model runs."""

from __future__ import annotations

from typing import Any

from planner.calibrate.kineto.naming import base_name
from planner.calibrate.kineto.recorded import Recorded
from planner.explain.clocked import Clocked

#: Calls of the operations that are the model's own tell whether both are the same step.
PRODUCTS, ATTENTION = "matmul", "attention"
_COUNTED = (PRODUCTS, "convolution", ATTENTION)
#: Ours over the recorded, or the other way, from which a count is not the same step's.
_OTHER_STEP = 1.25
#: Products that attention is made of where no kernel computes all of it.
_BATCHED = ("aten.bmm", "aten.baddbmm")
WHY = "other layers, another number of micro-batches, or a checkpointed pass"
PHASES = {"forward": "forward pass", "backward": "backward pass", "optimizer": "update"}


def other_step(step: Clocked, seen: Recorded, kinds: list[dict[str, Any]]) -> list[str]:
    """A sentence for each count that differs, and for each part of a step that was not recorded.
    ``kinds``: rows of ``by_kind``."""
    found = _absent(seen)
    counts = {row["kind"]: (row["predicted_calls"], row["recorded_calls"]) for row in kinds}
    ours, theirs = counts.get(ATTENTION, (0.0, 0.0))
    if bool(ours) != bool(theirs):
        # its products are no sign of another step then
        mine, recorded = counts.get(PRODUCTS, (0.0, 0.0))
        counts[PRODUCTS] = mine - _planned(step), recorded - _recorded(seen)
        sides = ("planned", "recorded") if ours else ("recorded", "planned")
        found.append(
            f"the {sides[0]} step runs attention as one operation, the {sides[1]} one as its "
            "products or not at all"
        )
    for kind in _COUNTED:
        mine, recorded = counts.get(kind, (0.0, 0.0))
        if kind == ATTENTION and bool(mine) != bool(recorded) or not (mine or recorded):
            continue
        if not mine or not recorded or max(mine / recorded, recorded / mine) > _OTHER_STEP:
            found.append(
                f"the recorded step runs {recorded:.0f} operations of kind {kind}, ours "
                f"{mine:.0f}: {WHY}, or another model"
            )
    return found


def _absent(seen: Recorded) -> list[str]:
    phases = {unit.phase for _, unit in seen.units}
    absent = [word for phase, word in PHASES.items() if phase not in phases]
    return [f"no {' and no '.join(absent)} was recorded"] if absent and phases else []


def _planned(step: Clocked) -> float:
    """Batched products of our step."""
    ops = [s.op.split(".") for s in step.trace.signatures]
    batched = [".".join(op[:2]) in _BATCHED for op in ops]
    counts = zip(step.trace.op_signature.tolist(), (step.times * step.launches).tolist())
    return sum(times for signature, times in counts if batched[signature])


def _recorded(seen: Recorded) -> float:
    found = sum(base_name(unit.name) in _BATCHED for _, unit in seen.units)
    return found / len(seen.steps)
