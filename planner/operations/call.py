"""One call of an operation at the sizes of its dimensions, and what it does: FLOPs, bytes read and
written. A multiply-add counts as two FLOPs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from planner.trace.table import ITEMSIZE, Operand, Signature

#: A figure at one point, or at every point of a grid: [*points].
Number = np.ndarray | float

BACKWARD = "backward"


class Cost(NamedTuple):
    """FLOPs, bytes read and bytes written of one call: numbers or arrays [*points]."""

    flops: Number
    read_bytes: Number
    write_bytes: Number


class Lengths:
    """The dimensions of a trace at its points as floats (products of five lengths overflow 64-bit
    integers), with the products that have been asked for: most operations of a model have the same
    few shapes. ``fixed`` (bool [n_forms]): which dimensions no batch and no length changes."""

    def __init__(self, dims: np.ndarray, fixed: np.ndarray | None = None):
        self.values = dims.astype(np.float64)
        self.points = dims.shape[1:]
        self.fixed = fixed
        self._products: dict[tuple[int, ...], np.ndarray] = {(): np.ones(self.points)}

    def product(self, shape: tuple[int, ...]) -> np.ndarray:
        """Product of the dimensions with these indices: [*points], not to be written to."""
        found = self._products.get(shape)
        if found is None:
            found = self._products[shape] = self.product(shape[:-1]) * self.values[shape[-1]]
        return found


class Call:
    """A signature at the values of its dimensions: what a formula sees."""

    def __init__(self, signature: Signature, lengths: Lengths):
        self.signature, self.lengths = signature, lengths
        self.inputs, self.outputs = signature.inputs, signature.outputs

    @property
    def name(self) -> str:
        """Without namespace and overload: ``add_`` of ``aten.add_.Tensor``."""
        return self.signature.op.split(".")[1]

    @property
    def is_backward(self) -> bool:
        return BACKWARD in self.signature.op

    @property
    def operands(self) -> tuple[Operand, ...]:
        return (*self.inputs, *self.outputs)

    @property
    def zero(self) -> np.ndarray:
        return np.zeros(self.lengths.points)

    def shape(self, operand: Operand) -> list[np.ndarray]:
        """Dimensions, each an array [*points]."""
        return [self.lengths.values[form] for form in operand.shape]

    def numel(self, operand: Operand) -> np.ndarray:
        """Elements, counting stride-0 dimensions in full, of one tensor of the list."""
        return self.lengths.product(operand.shape)

    def bytes(self, operand: Operand) -> np.ndarray:
        """Bytes that are really there (stride-0 dimensions once), over all tensors of a list
        argument."""
        there = (
            operand.shape
            if not operand.expanded
            else tuple(f for i, f in enumerate(operand.shape) if i not in operand.expanded)
        )
        return self.lengths.product(there) * float(ITEMSIZE[operand.dtype] * operand.count)

    def read(self, *operands: Operand) -> np.ndarray:
        return sum((self.bytes(o) for o in operands), self.zero)

    @property
    def read_all(self) -> np.ndarray:
        return self.read(*self.inputs)

    @property
    def write_all(self) -> np.ndarray:
        return self.read(*self.outputs)

    @property
    def elements(self) -> np.ndarray:
        """Elements of the largest operand, lists in full: the work of an operation that touches
        each once."""
        sizes = [self.numel(o) * o.count for o in (*self.outputs, *self.inputs)]
        return functools.reduce(np.maximum, sizes) if sizes else self.zero

    @property
    def tensors(self) -> int:
        """Tensors of the longer side, lists counted in full."""
        return max(sum(o.count for o in side) for side in (self.inputs, self.outputs))


Formula = Callable[[Call], Cost]


def names(text: str, namespace: str = "aten") -> list[str]:
    """Base names of a namespace out of a text of words: ``aten.mm``, ``aten.bmm`` …"""
    return [f"{namespace}.{name}" for name in text.split()]
