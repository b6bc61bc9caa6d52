"""torch.nn.utils.clip_grad_norm_ over the gradients of a trace: what it runs, and what it holds.

Every gradient's norm, the norm of those, the factor, and every gradient times it in place, one list
for each number format. A list whose format is not the factor's is multiplied one tensor after
another. Source: torch 2.13 ``torch/nn/utils/clip_grad.py``, ``aten/src/ATen/native/cuda/
ForeachReduceOp.cu`` and ``ForeachBinaryOpScalarTensor.cu``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from planner.trace.table import CATEGORIES, ITEMSIZE, PHASES, Operand, Signature, StepTrace

#: Elements of which one block of threads makes one number (``kChunkSize``).
CHUNK = 65536
_GRADIENTS, _OPTIMIZER = CATEGORIES.index("gradients"), PHASES.index("optimizer")
_NUMBER = Operand((), "float32")
_FACTOR = ("add.Tensor", "reciprocal.default", "mul.Tensor", "clamp.default")


def update_at(trace: StepTrace) -> int:
    """The first operation of the update; the end where it runs inside the backward pass."""
    found = np.flatnonzero(trace.op_phase == _OPTIMIZER)
    return int(found[0]) if found.size else trace.op_count


def clipping(trace: StepTrace) -> list[Signature]:
    """The operations; none where no gradient reaches the update."""
    lists = by_format(_gradients(trace))
    if not lists:
        return []
    widest = max(lists, key=lambda dtype: ITEMSIZE[dtype])
    norms = {dtype: replace(_NUMBER, dtype=dtype, count=_count(g)) for dtype, g in lists.items()}
    every = [
        Signature("aten._foreach_norm.Scalar", gradients, (norms[dtype],))
        for dtype, gradients in lists.items()
    ]
    together = replace(_NUMBER, dtype=widest, count=sum(norm.count for norm in norms.values()))
    one = replace(_NUMBER, dtype=widest)
    small = [
        Signature("aten.stack.default", tuple(norms.values()), (together,)),
        Signature("aten.linalg_vector_norm.default", (together,), (one,)),
        # 1e-6 is added, its reciprocal taken, times the largest norm, at most 1
        *(Signature(f"aten.{name}", (one,), (one,)) for name in _FACTOR),
    ]
    scaled = [
        signature
        for dtype, gradients in lists.items()
        for signature in _scaled(gradients, as_list=dtype == widest)
    ]
    return [*every, *small, *scaled]


def held_bytes(trace: StepTrace) -> list[int]:
    """Bytes of each tensor that is alive at once while norms are made: a number of every chunk of
    every gradient, as many for the shortest as for the longest, and one norm each."""
    held: list[int] = []
    for dtype, gradients in by_format(_gradients(trace)).items():
        count = _count(gradients)
        longest = max(_elements(trace, gradient) for gradient in gradients)
        held.append(ITEMSIZE["float32"] * count * -(-longest // CHUNK))
        held += [ITEMSIZE[dtype]] * count
    return held


def _scaled(gradients: tuple[Operand, ...], *, as_list: bool) -> list[Signature]:
    if as_list:
        # by a tensor of one number, which is read once: the traffic of a scalar's
        return [Signature("aten._foreach_mul_.Scalar", gradients, ())]
    return [
        Signature("aten.mul_.Tensor", (one, _NUMBER), (one,))
        for gradient in gradients
        for one in [replace(gradient, count=1)] * gradient.count
    ]


def by_format(gradients: Sequence[Operand]) -> dict[str, tuple[Operand, ...]]:
    """Lists of one number format each, as operations over lists want them."""
    names = dict.fromkeys(gradient.dtype for gradient in gradients)
    return {name: tuple(g for g in gradients if g.dtype == name) for name in names}


def _count(gradients: Sequence[Operand]) -> int:
    return sum(gradient.count for gradient in gradients)


def _elements(trace: StepTrace, gradient: Operand) -> int:
    """Of weights' shapes, which no batch changes."""
    constant = trace.monomials.index("1")
    return int(np.prod(trace.forms[list(gradient.shape), constant], dtype=np.int64))


def _gradients(trace: StepTrace) -> tuple[Operand, ...]:
    """Those that reach the update, equal ones together."""
    there = (trace.category == _GRADIENTS) & (trace.death >= update_at(trace))
    return operands(trace, trace.size[there].tolist())


def operands(trace: StepTrace, indices: Sequence[int]) -> tuple[Operand, ...]:
    """Tensors of these sizes of the trace, equal ones together, of the float type that operations
    have of their width."""
    counts = Counter(trace.sizes[index] for index in indices)
    types = _types(trace)
    return tuple(
        Operand(shape, types.get(itemsize, "float32"), count=count)
        for (shape, itemsize), count in counts.items()
    )


def _types(trace: StepTrace) -> dict[int, str]:
    """Bytes an element → the float type of the operations of that width, the most frequent one."""
    named = Counter(o.dtype for s in trace.signatures for o in s.outputs if "float" in o.dtype)
    return {ITEMSIZE[name]: name for name, _ in reversed(named.most_common())}
