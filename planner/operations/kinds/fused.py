"""Kernels that a compiler made of element-wise operations and reductions: what they read and write
goes by once."""

from __future__ import annotations

from planner.operations import streams
from planner.operations.call import Call, Cost
from planner.operations.kind import OperationKind


def _once(call: Call) -> Cost:
    return Cost(
        call.elements * float(call.signature.attr("operations", 1)), call.read_all, call.write_all
    )


KIND = OperationKind(
    name="fused",
    place=45,
    formulas={"planner.fused": _once},
    price=streams.price,
    terms=streams.plain_terms,
    suite=None,
)
