"""A case: one operation at one shape, in the vocabulary of traces. What a benchmark times and what
a profile remembers.

Micro-benchmarks are cases written by hand, exact pricing times the cases of a trace: both run by
the same executor, and both described to the curves by the same terms.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from planner.operations.call import Call, Lengths
from planner.trace.table import ITEMSIZE, Operand, Signature


@dataclass(frozen=True)
class Case:
    """An operation whose operands' shapes index into ``sizes``. ``precision`` is the recipe's
    (fp32, tf32, bf16 …): only tf32 changes what a float32 product runs on."""

    signature: Signature
    sizes: tuple[int, ...]
    precision: str = "fp32"

    @property
    def dims(self) -> np.ndarray:
        """The forms' values, as a trace's ``dims`` of one point: int64 [n_sizes]."""
        return np.array(self.sizes, dtype=np.int64)

    @property
    def call(self) -> Call:
        """The signature at its sizes, as the formulas and ``terms`` take it."""
        return Call(self.signature, Lengths(self.dims))

    def shape(self, operand: Operand) -> tuple[int, ...]:
        return tuple(self.sizes[form] for form in operand.shape)

    @cached_property
    def key(self) -> str:
        """The same for the same work: 20 hexadecimal digits over name, concrete operands, arguments
        and whether TF32 is allowed."""
        sides = [
            [(self.shape(o), o.dtype, o.layout, o.expanded, o.count) for o in side]
            for side in (self.signature.inputs, self.signature.outputs)
        ]
        text = json.dumps(
            [self.signature.op, sides, self.signature.attrs, self.precision == "tf32"], default=list
        )
        return hashlib.sha256(text.encode()).hexdigest()[:20]

    @property
    def bytes(self) -> int:
        """Memory that the operands take, each once."""
        total = 0
        for o in (*self.signature.inputs, *self.signature.outputs):
            there = [n for i, n in enumerate(self.shape(o)) if i not in o.expanded]
            total += ITEMSIZE[o.dtype] * o.count * int(np.prod(there, dtype=np.int64))
        return total


def case_of(signature: Signature, dims: np.ndarray, precision: str) -> Case:
    """A signature of a trace at one point (``dims`` [n_forms]), with only the sizes that it
    uses."""
    used: dict[int, int] = {}

    def local(operand: Operand) -> Operand:
        return replace(
            operand, shape=tuple(used.setdefault(form, len(used)) for form in operand.shape)
        )

    inputs, outputs = (
        tuple(local(o) for o in side) for side in (signature.inputs, signature.outputs)
    )
    return Case(
        replace(signature, inputs=inputs, outputs=outputs),
        tuple(int(dims[form]) for form in used),
        precision,
    )


#: An operand written by hand: (shape, dtype), (shape, dtype, layout) or (shape, dtype, layout,
#: count).
Written = tuple[Any, ...]


def case(
    op: str,
    inputs: Sequence[Written],
    outputs: Sequence[Written] = (),
    *,
    precision: str = "fp32",
    **attrs: Any,
) -> Case:
    """A case by hand: ``case("aten.mm.default", [((m, k), "bfloat16"), ((k, n), "bfloat16", "t")],
    [((m, n), "bfloat16")])``.

    Shapes are those that the operation sees; ``layout`` says how they lie in memory (see
    ``Operand``). Attributes are the operation's plain arguments by name, lists as tuples.
    """
    sizes: dict[int, int] = {}

    def operand(shape: Sequence[int], dtype: str, layout: str = "c", count: int = 1) -> Operand:
        return Operand(
            tuple(sizes.setdefault(int(n), len(sizes)) for n in shape), dtype, layout, (), count
        )

    signature = Signature(
        op,
        tuple(operand(*o) for o in inputs),
        tuple(operand(*o) for o in outputs),
        tuple(sorted(attrs.items())),
    )
    return Case(signature, tuple(sizes), precision)


def tensor_type(dtype: str) -> str:
    """The type that tensors have: TF32 is how float32 is multiplied, not a type."""
    return "float32" if dtype == "tf32" else dtype


def precision_of(dtype: str) -> str:
    """The recipe's precision under which a product of this type runs."""
    return {"tf32": "tf32", "bfloat16": "bf16", "float16": "fp16"}.get(dtype, "fp32")


def as_dict(case: Case) -> dict[str, Any]:
    """For a journal: plain lists and strings that JSON takes."""

    def side(operands: tuple[Operand, ...]) -> list[list[Any]]:
        return [
            [list(case.shape(o)), o.dtype, o.layout, list(o.expanded), o.count] for o in operands
        ]

    signature = case.signature
    return {
        "op": signature.op,
        "inputs": side(signature.inputs),
        "outputs": side(signature.outputs),
        "attrs": [list(a) for a in signature.attrs],
        "precision": case.precision,
    }


def from_dict(written: dict[str, Any]) -> Case:
    """The inverse of ``as_dict``. Raises KeyError, TypeError or ValueError for anything else."""
    sizes: dict[int, int] = {}

    def side(operands: list[Any]) -> tuple[Operand, ...]:
        return tuple(
            Operand(
                tuple(sizes.setdefault(int(n), len(sizes)) for n in shape),
                str(dtype),
                str(layout),
                tuple(expanded),
                int(count),
            )
            for shape, dtype, layout, expanded, count in operands
        )

    attrs = tuple((str(name), _tuples(value)) for name, value in written["attrs"])
    signature = Signature(
        str(written["op"]), side(written["inputs"]), side(written["outputs"]), attrs
    )
    return Case(signature, tuple(sizes), str(written["precision"]))


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, (list, tuple)) else value
