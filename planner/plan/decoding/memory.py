"""What an evaluation holds on a device beside the weights."""

from __future__ import annotations

import numpy as np

from planner.operations.registry import kind_of
from planner.trace.table import PHASES, StepTrace

FORWARD = PHASES.index("forward")


def result_bytes(trace: StepTrace, dims: np.ndarray) -> float:
    """Bytes of what the last product of a forward pass makes, and of what the loss makes of it:
    logits, their float32 copy and their logarithms, which live at once when the pass ends."""
    products = np.array([kind_of(s.op).model_work for s in trace.signatures], dtype=bool)
    forward = np.flatnonzero(trace.op_phase == FORWARD)
    made = forward[products[trace.op_signature[forward]]]
    if not made.size:
        return 0.0
    born = (trace.birth >= made[-1]) & (trace.birth <= forward[-1])
    return float(trace.storage_bytes(dims)[trace.size[born]].sum())
