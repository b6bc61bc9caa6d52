"""The averages of weights that a run keeps beside them, put into a trace."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.operations.averaging import resident, transient
from planner.trace.table import CATEGORIES, PHASES, Operand, Signature, StepTrace

_OPTIMIZER_PHASE, _BACKWARD = PHASES.index("optimizer"), PHASES.index("backward")
_STATE, _TEMPORARY = CATEGORIES.index("optimizer"), CATEGORIES.index("temporary")
_NUMBER = Operand((), "float32")
#: Where the averages are updated: the share that is left of them.
_UPDATE = Signature("aten.rsub.Scalar", (_NUMBER,), (_NUMBER,))

Sizes = list[tuple[tuple[int, ...], int, int]]


def averaged(trace: StepTrace, how: str) -> StepTrace:
    """The trace with averages as an optimizer's state, and with what their update holds behind its
    last operation; itself where nothing trains."""
    return trace.memo.of("averaged", how, lambda: _averaged(trace, how))


def _averaged(trace: StepTrace, how: str) -> StepTrace:
    if not (trace.op_phase == _BACKWARD).any():
        return trace
    end = trace.op_count
    states = _listed(resident(trace, how))
    moments = _listed(transient(trace, how))
    sizes = [*states, *moments]
    known = {size: index for index, size in enumerate(trace.sizes)}
    new = [size for size in dict.fromkeys(sizes) if size not in known]
    known |= {size: len(trace.sizes) + index for index, size in enumerate(new)}
    category = [_STATE] * len(states) + [_TEMPORARY] * len(moments)
    birth = [-1] * len(states) + [end] * len(moments)
    death = [end + 1] * len(states) + [end] * len(moments)

    def more(values: np.ndarray, added: list[int]) -> np.ndarray:
        return np.append(values, np.array(added, dtype=values.dtype))

    lasting = np.where(trace.death == end, end + 1, trace.death).astype(trace.death.dtype)
    return replace(
        trace,
        sizes=(*trace.sizes, *new),
        signatures=(*trace.signatures, _UPDATE),
        op_signature=more(trace.op_signature, [len(trace.signatures)]),
        op_phase=more(trace.op_phase, [_OPTIMIZER_PHASE]),
        op_module=more(trace.op_module, [int(trace.op_module[-1])]),
        size=more(trace.size, [known[size] for size in sizes]),
        birth=more(trace.birth, birth),
        death=more(lasting, death),
        category=more(trace.category, category),
        storage_module=more(trace.storage_module, [int(trace.op_module[-1])] * len(sizes)),
    )


def _listed(sizes: Sizes) -> list[tuple[tuple[int, ...], int]]:
    return [(shape, itemsize) for shape, itemsize, count in sizes for _ in range(count)]
