"""What of a step its host time is charged by: how often each operation pays each of the costs that
whole steps are measured for.

Single operations are timed in tight loops, where every cache and every branch is warm; between the
lines of a real model the same operation takes longer, and modules, autograd's nodes and the model's
own Python come on top. ``calibrate/host/whole_steps.py`` therefore runs whole steps of small
models, and finds the costs named here from the same charges that a step is priced by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from planner.trace.table import PHASES, StepTrace

FORWARD, TEACHER, RECOMPUTE, BACKWARD, OPTIMIZER = (
    PHASES.index(p) for p in ("forward", "teacher", "recompute", "backward", "optimizer")
)
#: Costs by the part of the step that pays them. ``*_factor``: times what single operations take in
#: a loop. ``launch``: an operation that runs a kernel. ``node``: an operation that autograd
#: records. ``pass``: a model's forward pass. ``tensor``: of an optimizer's list.
PARTS = {
    "forward": (
        "forward_factor",
        "launch_seconds",
        "node_seconds",
        "module_seconds",
        "pass_seconds",
    ),
    "backward": ("backward_factor", "backward_launch_seconds", "backward_view_seconds"),
    "optimizer": ("optimizer_factor", "tensor_seconds", "update_seconds"),
}
#: Costs of whole steps stand in a profile under their name with this before it.
WHOLE = "whole."
_PYTHON = (FORWARD, TEACHER, RECOMPUTE)


@dataclass(frozen=True)
class Operations:
    """Of each operation of a trace, [n_ops]: its phase, whether it launches a kernel, what it takes
    in a loop of its own (seconds, forward without autograd), the tensors of its longer side."""

    phase: np.ndarray
    launches: np.ndarray
    seconds: np.ndarray
    tensors: np.ndarray


def charges(trace: StepTrace, operations: Operations, recorded: float) -> dict[str, np.ndarray]:
    """How often each operation pays each cost: by the names of ``PARTS``, each float64 [n_ops].

    ``recorded``: the share of the forward pass that autograd records. What a pass or an update
    pays once is spread over its operations.
    """
    phase, launches = operations.phase, operations.launches
    python = np.isin(phase, _PYTHON)
    backward, update = phase == BACKWARD, phase == OPTIMIZER
    nodes = np.where(phase == FORWARD, recorded, np.where(phase == RECOMPUTE, 1.0, 0.0))
    passes = sum(bool((phase == p).any()) for p in (FORWARD, TEACHER))
    return {
        "forward_factor": np.where(python, operations.seconds, 0.0),
        "launch_seconds": (python & launches).astype(float),
        "node_seconds": nodes,
        "module_seconds": _spread(python, float(trace.meta.get("module_calls", 0))),
        "pass_seconds": _spread(python, passes),
        "backward_factor": np.where(backward, operations.seconds, 0.0),
        "backward_launch_seconds": (backward & launches).astype(float),
        "backward_view_seconds": (backward & ~launches).astype(float),
        "optimizer_factor": np.where(update, operations.seconds, 0.0),
        "tensor_seconds": np.where(update, operations.tensors, 0.0),
        "update_seconds": _spread(update, 1.0),
    }


def seconds_of(
    paid: Mapping[str, np.ndarray],
    costs: Mapping[str, float],
    parts: tuple[str, ...] = tuple(PARTS),
) -> np.ndarray:
    """Seconds of each operation: [n_ops]."""
    return sum(
        (paid[name] * costs.get(name, 0.0) for part in parts for name in PARTS[part]),
        np.zeros(len(paid["launch_seconds"])),
    )


def recorded_share(trace: StepTrace, operations_a_node: float) -> float:
    """The share of the forward pass that autograd records: what the backward pass issues, over
    ``operations_a_node`` for each operation of the forward pass, at most 1."""
    counted = np.bincount(trace.op_phase, minlength=len(PHASES))
    forward = counted[FORWARD] * operations_a_node
    return float(min(1.0, counted[BACKWARD] / forward)) if forward else 0.0


def _spread(where: np.ndarray, amount: float) -> np.ndarray:
    return np.where(where, amount / max(1, int(where.sum())), 0.0)
