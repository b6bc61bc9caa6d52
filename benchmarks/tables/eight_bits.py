"""A step whose linear layers run in 8-bit floats as TransformerEngine runs them, made of the same
step in bfloat16: products of blocks read float8, and what they read is cast before.

Of each activation and each gradient that a product reads one cast writes two copies, by rows and by
columns, which the weight's gradient reads (transformer_engine/pytorch/module/linear.py); with
``scaled`` scales that are found in the tensor itself it is read once more before (current scaling).
Casts of weights, which are kept over the micro-batches of a step, are left out. Routers, the
embedding, the head and attention stay as they are.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.parallel.model.edited import Editor, Inserted
from planner.parallel.model.places import BACKWARD, FORWARD, RECOMPUTE
from planner.parallel.units import block_names
from planner.trace.table import Operand, Signature, StepTrace

FLOAT8 = "float8_e4m3fn"
LINEAR, GROUPED = ("aten.mm.", "aten.addmm."), "aten._grouped_mm."
ROUTERS = ("gate", "router")
_VIEWED = 2  # dimensions of what a linear layer multiplies


def in_eight_bits(trace: StepTrace, *, scaled: bool) -> StepTrace:
    """Kept with the trace."""
    return trace.memo.of("eight bits", scaled, lambda: _made(trace, scaled))


def _made(trace: StepTrace, scaled: bool) -> StepTrace:
    blocks, edit = block_names(trace.modules), Editor(trace)
    symbols = np.delete(trace.forms, trace.monomials.index("1"), axis=1)
    varies = np.asarray(symbols.any(axis=1))
    products = [n for n in range(trace.op_count) if _is_linear(trace, n, blocks)]
    before: tuple[int, Operand] | None = None
    for at in products:
        read = _activation(trace.signatures[int(trace.op_signature[at])], varies)
        phase = int(trace.op_phase[at])
        if read is None or phase not in (FORWARD, RECOMPUTE, BACKWARD):
            continue
        if phase != BACKWARD and before == (phase, read):
            continue  # queries, keys and values, or gate and up, read the same
        before = phase, read
        module, made = int(trace.op_module[at]), replace(read, dtype=FLOAT8)
        if scaled:
            largest = Signature("aten.amax.default", (read,), (Operand((), "float32"),))
            edit.operations.append(Inserted(at, largest, phase, module))
        cast = Signature("aten._to_copy.default", (read,), (made, made))
        edit.operations.append(Inserted(at, cast, phase, module))
    signatures = list(trace.signatures)
    op_signature, known = trace.op_signature.copy(), {}
    for at in products:
        old = int(trace.op_signature[at])
        if old not in known:
            known[old] = len(signatures)
            signatures.append(_narrow(trace.signatures[old]))
        op_signature[at] = known[old]
    edit.trace = replace(trace, signatures=tuple(signatures), op_signature=op_signature)
    made, _ = edit.finished(dict(trace.meta))
    return made


def _is_linear(trace: StepTrace, at: int, blocks: dict[int, str]) -> bool:
    one, module = trace.signatures[int(trace.op_signature[at])], int(trace.op_module[at])
    if module not in blocks or trace.modules[module].split(".")[-1] in ROUTERS:
        return False
    if not one.op.startswith((*LINEAR, GROUPED)):
        return False
    return all(o.dtype == "bfloat16" for o in one.inputs[:_VIEWED])


def _activation(one: Signature, varies: np.ndarray) -> Operand | None:
    """What a product reads beside a weight; None of a weight's gradient, which reads casts."""
    moving = [o for o in one.inputs if o.dtype == "bfloat16" and varies[list(o.shape)].any()]
    return moving[0] if len(moving) == 1 else None


def _narrow(one: Signature) -> Signature:
    inputs = tuple(
        replace(o, dtype=FLOAT8) if o.dtype == "bfloat16" and len(o.shape) > 1 else o
        for o in one.inputs
    )
    name = "aten._scaled_mm.default" if one.op.startswith("aten.mm.") else one.op
    return replace(one, op=name, inputs=inputs)
