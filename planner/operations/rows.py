"""What kinds share that work on rows, each on its own: how many, and how wide."""

from __future__ import annotations

import numpy as np

from planner.operations import streams
from planner.operations.call import Call, Number
from planner.operations.kind import Operation, Rates, Term


def last_dimension(call: Call) -> Number:
    """Width of the largest operand's rows."""
    largest = streams.largest(call)
    return call.shape(largest)[-1] if largest.shape else 1.0


def term(operation: Operation, width: Number, *parts: str) -> list[Term]:
    """One term of rows of ``width`` elements, told by ``parts`` and the largest operand's type."""
    largest = streams.largest(operation.call)
    elements = operation.call.numel(largest)
    return [
        Term(
            ".".join([operation.kind.name, *parts, largest.dtype]),
            (elements / np.maximum(width, 1), width),
            operation.flops,
            operation.bytes,
        )
    ]


def issued(operation: Operation, device: Rates) -> Number:
    """What kernels of rows do for each byte beside its arithmetic (reductions over a block and
    their waits), in FLOP on the ordinary cores: a multiprocessor takes in some seven bytes a clock,
    however much bandwidth there is."""
    if device.compiled:
        return 0.0
    return operation.bytes * device.parameter("any", "row_effort")
