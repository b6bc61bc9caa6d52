"""What clipping the gradients holds for a moment before the update, put into a trace."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.operations.clipping import held_bytes, update_at
from planner.trace.table import CATEGORIES, PHASES, Signature, StepTrace

_OPTIMIZER, _TEMPORARY = PHASES.index("optimizer"), CATEGORIES.index("temporary")
#: Stands for the lists of norms: its memory is what is wanted of it.
_NORMS = Signature("aten._foreach_norm.Scalar", (), ())


def clipped(trace: StepTrace) -> StepTrace:
    """The trace with the tensors of ``clip_grad_norm_`` alive in an operation of their own before
    the update; itself where no gradient reaches it."""
    return trace.memo.of("clipped", None, lambda: _clipped(trace))


def _clipped(trace: StepTrace) -> StepTrace:
    held = held_bytes(trace)
    if not held:
        return trace
    at, count = update_at(trace), len(held)
    sizes = tuple(dict.fromkeys(held))
    forms = np.zeros((len(sizes), trace.forms.shape[1]), dtype=trace.forms.dtype)
    forms[:, trace.monomials.index("1")] = sizes
    own = [len(trace.sizes) + sizes.index(size) for size in held]

    def more(values: np.ndarray, new: int | list[int]) -> np.ndarray:
        return np.append(values, np.broadcast_to(new, count).astype(values.dtype))

    def put(values: np.ndarray, new: int) -> np.ndarray:
        return np.insert(values, at, np.asarray(new, dtype=values.dtype))

    def moved(places: np.ndarray) -> np.ndarray:
        return np.where(places >= at, places + 1, places).astype(places.dtype)

    module = int(trace.op_module[min(at, trace.op_count - 1)])
    return replace(
        trace,
        forms=np.vstack([trace.forms, forms]),
        sizes=(*trace.sizes, *(((len(trace.forms) + i,), 1) for i in range(len(sizes)))),
        signatures=(*trace.signatures, _NORMS),
        op_signature=put(trace.op_signature, len(trace.signatures)),
        op_phase=put(trace.op_phase, _OPTIMIZER),
        op_module=put(trace.op_module, module),
        size=more(trace.size, own),
        birth=more(moved(trace.birth), at),
        death=more(moved(trace.death), at),
        category=more(trace.category, _TEMPORARY),
        storage_module=more(trace.storage_module, module),
    )
